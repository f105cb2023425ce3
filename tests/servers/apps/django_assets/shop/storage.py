"""Django's storage with hashed names, also of the modules that a script imports."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class ModuleStorage(ManifestStaticFilesStorage):
    """Writes the hashed names into ``import`` too."""

    support_js_module_import_aggregation = True
