"""The questions of each chapter's quiz, which :mod:`medclipsam_utils.quiz` shows."""
