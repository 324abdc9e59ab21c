"""Figures and one self-contained page that tell what a run did."""

from ssljax.report.build import build_report as build_report
from ssljax.report.html import write_html as write_html
from ssljax.report.plots import confusion as confusion
from ssljax.report.plots import contact_sheet as contact_sheet
from ssljax.report.plots import curves as curves
from ssljax.report.plots import eigenvalues as eigenvalues
from ssljax.report.plots import feature_map as feature_map
from ssljax.report.plots import spectrum as spectrum
from ssljax.report.style import to_png as to_png
