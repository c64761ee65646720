"""What an export raises, and how the other formats' converters are called."""

import contextlib
import logging
import re
import warnings


class ExportError(RuntimeError):
    """An export was written that does not hold what it should; nothing of it is kept."""


@contextlib.contextmanager
def converting(format, loggers=()):
    """Keep a converter quiet, and turn whatever it raises into an `ExportError` with its reason."""
    loggers = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ExportError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(str(error)) or type(error).__name__
        raise ExportError(f"The converter to {format} refuses this model: {reason}") from error
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def needed(package):
    """The error of a format whose packages are not installed."""
    return ImportError(
        f"The format needs the package {package}: pip install 'rnnzoo[export]'. It is not installed"
    )


def _reason(message):
    """The line of a converter's message that says why, without those that say where."""
    telling = re.search(r"'tf\.\w+' op requires[^\n]*|TF Select ops:[^\n]*", message)
    line = telling.group() if telling else message.strip().partition("\n")[0]
    return " ".join(line.split())[-400:]
