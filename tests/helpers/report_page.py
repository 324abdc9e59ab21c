"""The sections of a report, and a parser that finds them in its page."""

import html
import html.parser

SECTIONS = [
    "What this run is",
    "Evaluation",
    "Alarms and warnings",
    "Eigenvalues",
    "Training curves",
    "Spectrum",
    "Modes beside theory",
    "Contact sheet",
    "Map of the test features",
    "Confusion matrix",
    "Configuration",
    "Environment",
]


class Headings(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.here, self.found, self.images = [], [], 0
        self.feed(page)
        assert self.here == []

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"
        if tag not in ("meta", "img"):
            self.here.append(tag)

    def handle_endtag(self, tag):
        assert self.here.pop() == tag

    def handle_data(self, data):
        if self.here and self.here[-1] == "h2":
            self.found.append(data)
