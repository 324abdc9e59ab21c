"""Figures of a run, and one self-contained page that reports it.

`ssljax.reports.report.report` makes the page of a run folder.
"""

from ssljax.reports.build import build_report as build_report
from ssljax.reports.html import write_html as write_html
from ssljax.reports.plots import confusion as confusion
from ssljax.reports.plots import contact_sheet as contact_sheet
from ssljax.reports.plots import curves as curves
from ssljax.reports.plots import eigenvalues as eigenvalues
from ssljax.reports.plots import feature_map as feature_map
from ssljax.reports.plots import spectrum as spectrum
from ssljax.reports.style import to_png as to_png
