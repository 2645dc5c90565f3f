"""How far a projection has come. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from bus.errors import CorruptJournalError
from bus.ports import FeedEnd
from schemas.journal import Commit


@dataclass(slots=True)
class Checkpoint:
    """The last commit applied: its sequence and time, and of each shard the last commit's number.

    ``incarnation`` is the journal's: what was read in another one does not count.
    """

    incarnation: str = ""
    position: int = 0
    at: datetime | None = None
    commits: dict[str, int] = field(default_factory=dict[str, int])

    def copy(self) -> "Checkpoint":
        """Return one that goes on by itself."""
        return Checkpoint(self.incarnation, self.position, self.at, dict(self.commits))

    def pass_over(
        self, sequence: int, subject: str, commit: Commit, *, whole: bool, gaps: bool
    ) -> bool:
        """Move behind a commit; say whether it is new. With ``gaps`` some may be missing before it.

        Raises:
            CorruptJournalError: commits are missing before it.
        """
        known = self.commits.get(subject, 0)
        if commit.n > known + 1 and (known or whole) and not gaps:
            raise CorruptJournalError(subject, f"commit {commit.n} follows commit {known}")
        self.position = max(self.position, sequence)
        if commit.n <= known:
            return False
        self.commits[subject] = commit.n
        self.at = commit.at
        return True

    def pass_unreadable(self, sequence: int, subject: str) -> None:
        """Move behind a commit of which nothing can be read: it has a number like any other."""
        self.position = max(self.position, sequence)
        if subject in self.commits:
            self.commits[subject] += 1

    def behind(self, end: FeedEnd) -> int:
        """Return how many commits are missing to the journal's end.

        It is more where some are purged, or where states at rest lie between them.
        """
        reached = self.position if self.incarnation == end.incarnation else 0
        return max(end.sequence - max(reached, end.first - 1), 0)
