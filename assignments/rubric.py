"""The criteria of the project, with their points; ``source/capstone/rubric.md`` says what they mean."""

CRITERIA: dict[str, int] = {
    "question": 4,
    "images": 6,
    "method": 6,
    "evaluation": 8,
    "failures": 6,
    "limits": 4,
    "reproducible": 6,
}
