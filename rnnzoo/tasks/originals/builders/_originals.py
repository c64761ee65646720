"""What the builders share: the original files of the table, downloaded, verified and in order."""

import tensorflow_datasets as tfds

from rnnzoo.tasks.originals import _data, _sources


class Originals(tfds.core.GeneratorBasedBuilder):
    """A builder over the original files of one data set of `_sources`.

    A subclass sets `SOURCE`, and defines `_features`, `_split_generators` (with `_contents`) and
    `_generate_examples` with keys 0, 1, 2, ...: the examples keep that order.
    """

    VERSION = tfds.core.Version("1.0.0")
    SOURCE = ""

    @tfds.core.utils.classproperty
    @classmethod
    def url_infos(cls):
        """Sizes and SHA-256 by address, for the download manager to verify.

        A file that is known by another identity too is verified by `_contents` alone.
        """
        kind = tfds.core.download.checksums.UrlInfo
        return {
            file.url: kind(tfds.core.utils.Size(file.size), file.sha256, file.name)
            for file in _sources.get(cls.SOURCE).files
            if not file.also
        }

    def _info(self):
        source = _sources.get(self.SOURCE)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{source.summary}.",
            features=self._features(),
            homepage=source.homepage,
            citation=source.citation,
            license=source.licence,
            disable_shuffling=True,
        )

    def _contents(self, dl_manager, names):
        """The verified content of the files of these names, by name."""
        files = [_sources.get(self.SOURCE).file(name) for name in names]
        paths = dl_manager.download({file.name: file.url for file in files})
        contents = {}
        for file in files:
            contents[file.name] = paths[file.name].read_bytes()
            _data.verify(contents[file.name], file.sha256, file.url, file.also)
        return contents


def stored(builder, split, **options):
    """The examples of a split as a list of dicts of NumPy values, in the order of the original.

    They are downloaded and prepared at first use, by TensorFlow Datasets in its own folder.

    Args:
        builder: a subclass of `Originals`.
        split: the name of the split.
        options: of the builder (`config`, `data_dir`).

    Raises:
        DataError: whatever the download and preparation raise, with what to do instead.
    """
    try:
        made = builder(**options)
        made.download_and_prepare()
        dataset = made.as_dataset(
            split=split,
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1, enable_ordering_guard=True),
        )
        return list(tfds.as_numpy(dataset))
    except Exception as error:  # whatever a download, a proxy or an unpacking can raise
        raise _data.DataError(_advice(builder.SOURCE, error)) from error


def _advice(name, error):
    wanted = "; ".join(f"{f.name} (SHA-256: {f.sha256})" for f in _sources.get(name).files)
    return (
        f"{name} could not be had through TensorFlow Datasets ({type(error).__name__}: {error}). "
        f"Use `rnnzoo data fetch {name}`, or put the original files {wanted} into the folder "
        f"{name} of a folder that {_data.VARIABLE} or `data_dir` names."
    )
