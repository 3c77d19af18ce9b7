"""Each network that a recipe can name, and how it is taught."""

from tools.train.tasks.cae import AUTOENCODERS
from tools.train.tasks.drae import DRAE
from tools.train.tasks.draem import DRAEM
from tools.train.tasks.segdec import SEGDEC
from tools.train.tasks.task import Task

TASKS: dict[str, Task] = {"segdec": SEGDEC, "segdec-lite": SEGDEC, **AUTOENCODERS, "draem": DRAEM, "drae": DRAE}
