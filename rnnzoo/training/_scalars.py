"""Scalars for TensorBoard, written without the tensorboard package, which only its reader needs."""

import tensorflow as tf


class Scalars:
    """Curves of training and validation in one folder, in the layout of Keras's callback."""

    def __init__(self, folder):
        self.folder, self.writers = folder, {}
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        self.metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)

    def write(self, epoch, logs):
        """One point for each entry of `logs`, on disk when this returns."""
        for name, value in logs.items():
            split, stem = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
            if split not in self.writers:
                self.writers[split] = tf.summary.create_file_writer(str(self.folder / split))
            with self.writers[split].as_default():
                value = tf.constant(float(value))
                tf.summary.write(f"epoch_{stem}", value, step=epoch, metadata=self.metadata)
        for writer in self.writers.values():
            writer.flush()
