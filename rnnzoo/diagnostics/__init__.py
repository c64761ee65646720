"""What a recurrent model does with time: states, gradients, curvature and truncation, measured."""

import importlib

_NAMES = {
    "EffectiveLearningRate": "effective_learning_rate",
    "autocorrelation": "autocorrelation",
    "data_contraction": "data_contraction",
    "effective_learning_rate": "effective_learning_rate",
    "gradient_gap": "gradient_gap",
    "gradient_over_distance": "gradient_over_distance",
    "gradient_paths": "gradient_paths",
    "hessian": "hessian",
    "jacobian": "jacobian",
    "sensitivity": "sensitivity",
    "sensitivity_second_moment": "closed_forms",
    "signal_propagation": "signal_propagation",
    "state_second_moment": "closed_forms",
    "teacher_student_hessian": "closed_forms",
    "teacher_student_loss": "closed_forms",
    "weight_gap": "weight_gap",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:
        module = importlib.import_module(f"rnnzoo.diagnostics._{_NAMES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'rnnzoo.diagnostics' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
