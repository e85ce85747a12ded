"""What other packages may use of this one: images by name, pixels and features of a recipe, and backbones as Keras models.

Everything is loaded on first use (PEP 562): importing this module imports neither Keras nor pyarrow.
"""

from typing import TYPE_CHECKING

from store.lazy import exporting

if TYPE_CHECKING:
    from extract.backbones.build import build, cut, keras_defaults, leaf_layers, remainder
    from extract.backbones.file_backbone import ONNX, FileBackbone, recipe_backbone, table_backbone
    from extract.backbones.load import load_keras_model, load_network
    from extract.backbones.table import Backbone, get_backbone
    from extract.backbones.weights import Weights
    from extract.backbones.weights_file import fill_from_file
    from extract.bad_image import BadImage
    from extract.extractor import FeatureExtractor, extract_with_all, recipe_weights, same_pixels
    from extract.images.given import GivenImages, ImageLike, take_images
    from extract.images.pixels import any_present, read_pixels, read_thumbnails
    from extract.process_state import logger_levels, quiet_libraries, search_path
    from extract.runtimes.backend import start_keras
    from extract.runtimes.onnx_compose import HeadPlace, compose_onnx, compose_openvino, head_place
    from extract.sources.base import image_root
    from extract.sources.table import read_labels, read_paths
    from extract.sources.table_file import read_csv_rows
    from store.progress import SILENT, Progress, Reporter, Silence, console_reporter

__all__ = [
    "ONNX",
    "SILENT",
    "Backbone",
    "BadImage",
    "FeatureExtractor",
    "FileBackbone",
    "GivenImages",
    "HeadPlace",
    "ImageLike",
    "Progress",
    "Reporter",
    "Silence",
    "Weights",
    "any_present",
    "build",
    "compose_onnx",
    "compose_openvino",
    "console_reporter",
    "cut",
    "extract_with_all",
    "fill_from_file",
    "get_backbone",
    "head_place",
    "image_root",
    "keras_defaults",
    "leaf_layers",
    "load_keras_model",
    "load_network",
    "logger_levels",
    "quiet_libraries",
    "read_csv_rows",
    "read_labels",
    "read_paths",
    "read_pixels",
    "read_thumbnails",
    "recipe_backbone",
    "recipe_weights",
    "remainder",
    "same_pixels",
    "search_path",
    "start_keras",
    "table_backbone",
    "take_images",
]

if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {
            "extract.backbones.build": ("build", "cut", "keras_defaults", "leaf_layers", "remainder"),
            "extract.backbones.file_backbone": ("ONNX", "FileBackbone", "recipe_backbone", "table_backbone"),
            "extract.backbones.load": ("load_keras_model", "load_network"),
            "extract.backbones.table": ("Backbone", "get_backbone"),
            "extract.backbones.weights": ("Weights",),
            "extract.backbones.weights_file": ("fill_from_file",),
            "extract.bad_image": ("BadImage",),
            "extract.extractor": ("FeatureExtractor", "extract_with_all", "recipe_weights", "same_pixels"),
            "extract.images.given": ("GivenImages", "ImageLike", "take_images"),
            "extract.images.pixels": ("any_present", "read_pixels", "read_thumbnails"),
            "extract.process_state": ("logger_levels", "quiet_libraries", "search_path"),
            "store.progress": ("SILENT", "Progress", "Reporter", "Silence", "console_reporter"),
            "extract.runtimes.backend": ("start_keras",),
            "extract.runtimes.onnx_compose": ("HeadPlace", "compose_onnx", "compose_openvino", "head_place"),
            "extract.sources.base": ("image_root",),
            "extract.sources.table": ("read_labels", "read_paths"),
            "extract.sources.table_file": ("read_csv_rows",),
        },
    )
