from .columns import Columns as Columns
from .reader import Episode as Episode
from .reader import LeRobotDataset as LeRobotDataset
from .writer import DatasetWriter as DatasetWriter
