from .import_policy import import_policy as import_policy
from .published import export_model as export_model
from .videos import convert_videos as convert_videos
