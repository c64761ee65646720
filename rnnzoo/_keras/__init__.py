"""The one door to private names of Keras and TensorFlow.

Every private name that the package needs is used in here and nowhere else, each by one function
whose docstring says what it is for and what breaks without it. `tests/test_keras.py` calls each
against the installed Keras and TensorFlow, and fails with that docstring;
`tests/test_private_names.py` reads the sources and holds that no other file touches such a name.
What would fail silently where a name is gone (a mask that is ignored, a gradient summed twice)
raises `AttributeError` or `ImportError` here.
"""

from rnnzoo._keras._graphs import (
    flat_inputs,
    flat_layers,
    functional_of_sequential,
    is_functional,
    last_input_shape,
    node_that_made,
    nodes,
    run_through_graph,
)
from rnnzoo._keras._layers import (
    FullPrecisionStates,
    forget_dropout_masks,
    make_dropout_masks,
    repeated_dropout_masks,
    takes_training,
    untrack,
)
from rnnzoo._keras._masks import mask_of, set_mask
from rnnzoo._keras._messages import compiled_by_xla, data_type_names, saved_model_message
from rnnzoo._keras._tracing import (
    dynamic_update_slice,
    in_gradient_of_gradient,
    in_keras_loop,
    tape_may_record,
    under_xla,
)
from rnnzoo._keras._training import (
    adam_moments,
    compile_metrics,
    loss_tracker,
    replace_symbolic_build,
    set_cardinality,
    set_direction,
    strategy_of,
    summed_gradients,
    symbolic_build,
    variable_index,
)
from rnnzoo._keras._weight_files import load_renamed, missing_in_file, saved_parts

__all__ = [
    "FullPrecisionStates",
    "adam_moments",
    "compile_metrics",
    "compiled_by_xla",
    "data_type_names",
    "dynamic_update_slice",
    "flat_inputs",
    "flat_layers",
    "forget_dropout_masks",
    "functional_of_sequential",
    "in_gradient_of_gradient",
    "in_keras_loop",
    "is_functional",
    "last_input_shape",
    "load_renamed",
    "loss_tracker",
    "make_dropout_masks",
    "mask_of",
    "missing_in_file",
    "node_that_made",
    "nodes",
    "repeated_dropout_masks",
    "replace_symbolic_build",
    "run_through_graph",
    "saved_model_message",
    "saved_parts",
    "set_cardinality",
    "set_direction",
    "set_mask",
    "strategy_of",
    "summed_gradients",
    "symbolic_build",
    "takes_training",
    "tape_may_record",
    "under_xla",
    "untrack",
    "variable_index",
]
