"""Assignments for a class: one source each, released and graded by one command each. README.md has the walk.

=================  ===================================================================================
``source/``        the notebooks, with nbgrader's marks; all else is made from them
``content/``       what each step is called with, and the mistakes that it knows
``teacher.py``     the term: a seed, and what goes with it
``release.py``     from a source to what students get
``sandbox.py``     where submitted code runs, with ``worker.py``, which is all of it that runs there
``grading.py``     from submissions to points, a report for each student, and a table for the class
=================  ===================================================================================
"""

from pathlib import Path

SOURCE = Path(__file__).parent / "source"

#: The assignments that are graded by the command, in the order of the chapters.
NAMES = ("loss_and_saliency", "prompting_and_evaluation", "weak_supervision")

#: The project on the student's own images, which a person grades.
CAPSTONE = "capstone"
