"""The papers of the methods, as BibTeX entries for `ssljax cite`."""

import re
from dataclasses import dataclass

from ssljax.config.checks import ConfigError
from ssljax.methods.table import METHODS


@dataclass(frozen=True)
class Paper:
    """One BibTeX entry.

    Attributes:
        key: the citation key.
        authors: "Family, Given", in the paper's order.
        title: as the paper prints it; braces protect capitals from BibTeX styles.
        venue: the proceedings, or empty for a preprint.
        year: of the venue, or of the preprint.
        eprint: number on arXiv.
        note: a remark for the reader of the entry.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    eprint: str
    note: str = ""

    def bibtex(self) -> str:
        """Return the entry as text.

        >>> print(PAPERS["2210.03586"].bibtex().splitlines()[0])
        @inproceedings{weng2022investigation,
        """
        fields = {
            "author": " and ".join(self.authors),
            "title": self.title,
            "booktitle": self.venue,
            "year": str(self.year),
            "eprint": self.eprint,
            "archivePrefix": "arXiv",
            "note": self.note,
        }
        kind = "inproceedings" if self.venue else "misc"
        width = max(map(len, fields))
        lines = [
            f"  {name:<{width}} = {{{value}}}"
            for name, value in fields.items()
            if value
        ]
        return f"@{kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


_ICML = "International Conference on Machine Learning (ICML)"
_ICLR = "International Conference on Learning Representations (ICLR)"
_NEURIPS = "Advances in Neural Information Processing Systems (NeurIPS)"
_ECCV = "European Conference on Computer Vision (ECCV)"
_CVPR = "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)"
_ICCV = "IEEE/CVF International Conference on Computer Vision (ICCV)"

_PAPERS = (
    Paper(
        "chen2020simple",
        (
            "Chen, Ting",
            "Kornblith, Simon",
            "Norouzi, Mohammad",
            "Hinton, Geoffrey",
        ),
        "A Simple Framework for Contrastive Learning of Visual Representations",
        _ICML,
        2020,
        "2002.05709",
    ),
    Paper(
        "garrido2023duality",
        (
            "Garrido, Quentin",
            "Chen, Yubei",
            "Bardes, Adrien",
            "Najman, Laurent",
            "LeCun, Yann",
        ),
        "On the duality between contrastive and non-contrastive self-supervised "
        "learning",
        _ICLR,
        2023,
        "2206.02574",
    ),
    Paper(
        "yeh2022decoupled",
        (
            "Yeh, Chun-Hsiao",
            "Hong, Cheng-Yao",
            "Hsu, Yen-Chi",
            "Liu, Tyng-Luh",
            "Chen, Yubei",
            "LeCun, Yann",
        ),
        "Decoupled Contrastive Learning",
        _ECCV,
        2022,
        "2110.06848",
    ),
    Paper(
        "haochen2021provable",
        ("HaoChen, Jeff Z.", "Wei, Colin", "Gaidon, Adrien", "Ma, Tengyu"),
        "Provable Guarantees for Self-Supervised Deep Learning with Spectral "
        "Contrastive Loss",
        _NEURIPS,
        2021,
        "2106.04156",
    ),
    Paper(
        "zbontar2021barlow",
        (
            "Zbontar, Jure",
            "Jing, Li",
            "Misra, Ishan",
            "LeCun, Yann",
            "Deny, St{\\'e}phane",
        ),
        "{Barlow Twins}: Self-Supervised Learning via Redundancy Reduction",
        _ICML,
        2021,
        "2103.03230",
    ),
    Paper(
        "bardes2022vicreg",
        ("Bardes, Adrien", "Ponce, Jean", "LeCun, Yann"),
        "{VICReg}: Variance-Invariance-Covariance Regularization for Self-Supervised "
        "Learning",
        _ICLR,
        2022,
        "2105.04906",
    ),
    Paper(
        "tong2023empssl",
        ("Tong, Shengbang", "Chen, Yubei", "Ma, Yi", "LeCun, Yann"),
        "{EMP-SSL}: Towards Self-Supervised Learning in One Training Epoch",
        "",
        2023,
        "2304.03977",
    ),
    Paper(
        "grill2020bootstrap",
        (
            "Grill, Jean-Bastien",
            "Strub, Florian",
            "Altch{\\'e}, Florent",
            "Tallec, Corentin",
            "Richemond, Pierre H.",
            "Buchatskaya, Elena",
            "Doersch, Carl",
            "Avila Pires, Bernardo",
            "Guo, Zhaohan Daniel",
            "Gheshlaghi Azar, Mohammad",
            "Piot, Bilal",
            "Kavukcuoglu, Koray",
            "Munos, R{\\'e}mi",
            "Valko, Michal",
        ),
        "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        _NEURIPS,
        2020,
        "2006.07733",
    ),
    Paper(
        "chen2021exploring",
        ("Chen, Xinlei", "He, Kaiming"),
        "Exploring Simple {Siamese} Representation Learning",
        _CVPR,
        2021,
        "2011.10566",
    ),
    Paper(
        "wen2022mechanism",
        ("Wen, Zixin", "Li, Yuanzhi"),
        "The Mechanism of Prediction Head in Non-contrastive Self-supervised Learning",
        _NEURIPS,
        2022,
        "2205.06226",
    ),
    Paper(
        "tian2021understanding",
        ("Tian, Yuandong", "Chen, Xinlei", "Ganguli, Surya"),
        "Understanding Self-Supervised Learning Dynamics without Contrastive Pairs",
        _ICML,
        2021,
        "2102.06810",
    ),
    Paper(
        "wang2021demystifying",
        ("Wang, Xiang", "Chen, Xinlei", "Du, Simon S.", "Tian, Yuandong"),
        "Towards Demystifying Representation Learning with Non-contrastive "
        "Self-supervision",
        "",
        2021,
        "2110.04947",
    ),
    Paper(
        "halvagal2023implicit",
        ("Halvagal, Manu Srinath", "Laborieux, Axel", "Zenke, Friedemann"),
        "Implicit variance regularization in non-contrastive {SSL}",
        _NEURIPS,
        2023,
        "2212.04858",
    ),
    Paper(
        "weng2024modulate",
        (
            "Weng, Xi",
            "Ni, Yunhao",
            "Song, Tengwei",
            "Luo, Jie",
            "Anwer, Rao Muhammad",
            "Khan, Salman",
            "Khan, Fahad Shahbaz",
            "Huang, Lei",
        ),
        "Modulate Your Spectrum in Self-Supervised Learning",
        _ICLR,
        2024,
        "2305.16789",
    ),
    Paper(
        "ermolov2021whitening",
        (
            "Ermolov, Aleksandr",
            "Siarohin, Aliaksandr",
            "Sangineto, Enver",
            "Sebe, Nicu",
        ),
        "Whitening for Self-Supervised Representation Learning",
        _ICML,
        2021,
        "2007.06346",
    ),
    Paper(
        "weng2022investigation",
        (
            "Weng, Xi",
            "Huang, Lei",
            "Zhao, Lei",
            "Anwer, Rao Muhammad",
            "Khan, Salman",
            "Khan, Fahad Shahbaz",
        ),
        "An Investigation into Whitening Loss for Self-supervised Learning",
        _NEURIPS,
        2022,
        "2210.03586",
    ),
    Paper(
        "hua2021feature",
        (
            "Hua, Tianyu",
            "Wang, Wenxiao",
            "Xue, Zihui",
            "Ren, Sucheng",
            "Wang, Yue",
            "Zhao, Hang",
        ),
        "On Feature Decorrelation in Self-Supervised Learning",
        _ICCV,
        2021,
        "2105.00470",
    ),
    Paper(
        "he2016deep",
        ("He, Kaiming", "Zhang, Xiangyu", "Ren, Shaoqing", "Sun, Jian"),
        "Deep Residual Learning for Image Recognition",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        2016,
        "1512.03385",
        note="The supervised baseline: a ResNet trained with cross-entropy",
    ),
)

PAPERS: dict[str, Paper] = {paper.eprint: paper for paper in _PAPERS}
# Cross-entropy has no paper; cite the baseline's network.
_CITED = {"supervised": "1512.03385"}


def paper_of(method: str) -> Paper:
    """Return the paper of a method, found by the arXiv number in the method's row.

    Raises:
        ConfigError: for a method added to the table without an entry here.
    """
    number = re.search(r"arXiv (\d{4}\.\d{5})", METHODS[method].paper)
    eprint = number[1] if number else _CITED.get(method, "")
    if eprint not in PAPERS:
        raise ConfigError(
            f"no BibTeX entry for {method!r}; its paper: {METHODS[method].paper}"
        )
    return PAPERS[eprint]
