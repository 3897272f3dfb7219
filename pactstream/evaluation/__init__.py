"""What a third party that evaluates calls needs: the question it is asked, and the verdict that it signs."""

from pactstream.evaluation.question import Question
from pactstream.evaluation.verdict import Opinion, sign

__all__ = ["Opinion", "Question", "sign"]
