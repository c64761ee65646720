"""What TensorFlow Serving is started with, written beside a version, ready to copy or to run."""

import shlex

FOLDER = "tensorflow_serving"


def write(folder, signatures, directory, version):
    """Write `tensorflow_serving/` into the version's folder."""
    target = folder / FOLDER
    target.mkdir()
    for name, text in files(signatures, directory, version).items():
        (target / name).write_text(text, encoding="utf-8")


def files(signatures, directory, version):
    """`{file name: text}`: models, batching, monitoring and the command that uses them."""
    name = directory.name
    return {
        "models.config": _MODELS.format(name=_quoted(name), path=_quoted(f"/models/{name}")),
        "batching_parameters.txt": _BATCHING.format(pad=str(_may_pad(signatures)).lower()),
        "monitoring.config": _MONITORING,
        "docker_run.sh": _docker(name),
    }


def _may_pad(signatures):
    """Whether sequences of several lengths may share a batch: where lengths say which is which."""
    return signatures.takes_lengths


def _quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_MODELS = """\
# --model_config_file. For several models write several `config` blocks.
model_config_list {{
  config {{
    name: {name}
    base_path: {path}
    model_platform: "tensorflow"
    # The newest version alone. Labels such as version_labels {{ key: "stable" value: 1 }} need
    # --allow_version_labels_for_unavailable_models at the first start.
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_BATCHING = """\
# --batching_parameters_file, with --enable_batching. Requests wait at most 1 ms for company.
max_batch_size {{ value: 64 }}
batch_timeout_micros {{ value: 1000 }}
num_batch_threads {{ value: 2 }}
max_enqueued_batches {{ value: 100 }}
# Sequences of several lengths are padded to the longest and share a batch: right only because
# every request states its `lengths`. Outputs past them mean nothing.
pad_variable_length_inputs: {pad}
"""

_MONITORING = """\
# --monitoring_config_file: Prometheus reads this path on the REST port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def _docker(name):
    return f"""\
#!/bin/sh
# TensorFlow Serving on this model: gRPC on 8500, REST and metrics on 8501, this machine only.
# It takes the configuration beside this script and all versions of the model.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$(cd "$here/../.." && pwd)
exec docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \\
  --mount type=bind,source="$model",target={shlex.quote(f"/models/{name}")},readonly \\
  --mount type=bind,source="$here",target=/config,readonly \\
  "${{TF_SERVING_IMAGE:-tensorflow/serving:latest}}" \\
  --model_config_file=/config/models.config \\
  --enable_batching --batching_parameters_file=/config/batching_parameters.txt \\
  --monitoring_config_file=/config/monitoring.config "$@"
"""
