"""What a campaign found: a Report, and it as text, JSON, HTML and JUnit's XML."""

from anonvma_rt.stress.report.html import html_report
from anonvma_rt.stress.report.junit import junit_report
from anonvma_rt.stress.report.report import Report, make_report, text_report

__all__ = ["Report", "html_report", "junit_report", "make_report", "text_report"]
