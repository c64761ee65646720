"""TensorFlow Datasets builders of the original data; importing one registers it for `tfds.load`."""
