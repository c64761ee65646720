"""One file a library: functions that build a workload and return a call that runs it once."""
