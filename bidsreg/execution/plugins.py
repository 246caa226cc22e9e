"""The file that names a plugin of Nipype, in fMRIPrep's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bidsreg.errors import InputError
from bidsreg.execution.settings import LEAST_GB
from bidsreg.validation import suggestion

#: The plugin that is used when no file is given.
DEFAULT = 'MultiProc'


def read_plugin(path: Path | None) -> tuple[str, dict[str, Any]]:
    """Read a file with a Nipype plugin: YAML with ``plugin`` and ``plugin_args``.

    Returns
    -------
    plugin, plugin_args
        :data:`DEFAULT` and nothing when no file is given.

    Raises
    ------
    InputError
        If it cannot be read, or names a plugin that is not there or cannot be used here.
    """
    if path is None:
        return DEFAULT, {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f'--use-plugin {path} cannot be read: {error}') from error
    plugin = content.get('plugin') if isinstance(content, dict) else None
    arguments = (content.get('plugin_args') or {}) if plugin else {}
    if not isinstance(plugin, str) or not isinstance(arguments, dict):
        raise InputError(f'--use-plugin {path}: give "plugin: NAME", and the rest as a mapping under "plugin_args".')
    _check_plugin_name(plugin, path)
    if plugin == DEFAULT:
        _check_amounts(arguments, path)
    return plugin, arguments


def _check_amounts(arguments: Mapping[str, Any], path: Path) -> None:
    """Refuse amounts in which no step can run: Nipype's scheduler would wait for ever."""
    for name, least in (('n_procs', 1), ('memory_gb', LEAST_GB)):
        value = arguments.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            raise InputError(f'--use-plugin {path}: {name} must be a number from {least} on, not {value!r}.')


def _check_plugin_name(plugin: str, path: Path) -> None:
    from nipype.pipeline import plugins

    known = [name.removesuffix('Plugin') for name in dir(plugins) if name.endswith('Plugin')]
    if plugin not in known:
        raise InputError(f'--use-plugin {path}: Nipype has no plugin {plugin!r}.{suggestion(plugin, known)}')
    if plugin.endswith('Graph'):
        raise InputError(
            f'--use-plugin {path}: {plugin} does not wait for its jobs; use {plugin.removesuffix("Graph")}.'
        )
    from bidsreg.execution import batch

    if missing := batch.missing_programs(plugin):
        raise InputError(
            f'--use-plugin {path}: {plugin} needs {", ".join(missing)}, not on the PATH here: start bidsreg where '
            'jobs are submitted. In a container use one job for each subject instead (docs/clusters.md).'
        )
