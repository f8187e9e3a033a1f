"""Pictures, signals and volumes from files and from models: read, searched for grids, probed.

Photographs of packages and of folders are `[H, W, 3]`, float32, in [0, 1] (values as stored, not linear light). What
`read_image` reads is a `Picture`, channel-last, of any rank and depth, with what its file says of it.
"""

from checkerjax.images._attribution import Attribution, attribute
from checkerjax.images._comparison import compare
from checkerjax.images._comparison_report import Comparison, ComparisonReport
from checkerjax.images._detector import measure
from checkerjax.images._detector_folder import FolderReport, combine, measure_all
from checkerjax.images._detector_sums import FolderPeriod
from checkerjax.images._files import FoundFiles, find_files
from checkerjax.images._forensics import forensics
from checkerjax.images._forensics_report import ForensicsReport, SeenPhases, Suspect
from checkerjax.images._photographs import Photograph, package_photographs, read_folder, tiles
from checkerjax.images._picture import Origin, Picture, Unreadable
from checkerjax.images._probe import probe
from checkerjax.images._probe_report import ProbedPeriod, ProbeReport
from checkerjax.images._reading import read_image, read_images
from checkerjax.images._report import FractionalLine, GridReport, GroupResult, LineTable, PeriodResult

__all__ = [
    "Attribution",
    "Comparison",
    "ComparisonReport",
    "FolderPeriod",
    "FolderReport",
    "ForensicsReport",
    "FoundFiles",
    "FractionalLine",
    "GridReport",
    "GroupResult",
    "LineTable",
    "Origin",
    "PeriodResult",
    "Photograph",
    "Picture",
    "ProbeReport",
    "ProbedPeriod",
    "SeenPhases",
    "Suspect",
    "Unreadable",
    "attribute",
    "combine",
    "compare",
    "find_files",
    "forensics",
    "measure",
    "measure_all",
    "package_photographs",
    "probe",
    "read_folder",
    "read_image",
    "read_images",
    "tiles",
]
