"""Controllers: from what was seen of the arms, the synthetic streams, to the shares of the next window."""

from streamdocs.steering.controllers.ado import Ado
from streamdocs.steering.controllers.base import Arms, Controller, Learner, Seen
from streamdocs.steering.controllers.exp3 import Exp3
from streamdocs.steering.controllers.schedule import Schedule
from streamdocs.steering.controllers.ucb import Ucb

#: The name of none: shares stay as they are.
FIXED = "fixed"
CONTROLLERS: dict[str, type[Controller]] = {each.name: each for each in (Schedule, Ucb, Exp3, Ado)}

__all__ = ["CONTROLLERS", "FIXED", "Ado", "Arms", "Controller", "Exp3", "Learner", "Schedule", "Seen", "Ucb"]
