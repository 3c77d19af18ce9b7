"""Each network that a recipe can name, and how it is taught."""

from tools.train.tasks.cae import CAE
from tools.train.tasks.segdec import SEGDEC
from tools.train.tasks.task import Task

TASKS: dict[str, Task] = {"segdec": SEGDEC, "bergmann-cae": CAE}
