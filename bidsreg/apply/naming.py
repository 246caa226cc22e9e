"""Names as BIDS has them: what they say of a file, and that of what is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bidsreg.apply.base import FileKind
from bidsreg.errors import InputError

_ENTITY = re.compile(r'([a-zA-Z]+)-([0-9a-zA-Z+]+)')
#: Entities that stand behind ``space``, in the order of BIDS.
_BEHIND_SPACE = ('split', 'recording', 'chunk', 'atlas', 'seg', 'scale', 'res', 'den', 'label', 'desc')
#: Entities of a template, and those that say on which of its grids a file is.
_OF_TEMPLATE = ('tpl', 'cohort')
#: Folders of BIDS whose name a result keeps.
DATATYPES = ('anat', 'func', 'dwi', 'perf', 'pet', 'fmap', 'eeg', 'ieeg', 'meg', 'nirs')


@dataclass(frozen=True)
class BidsName:
    """A name in its parts.

    Attributes
    ----------
    entities : mapping of str to str
        As they are written (``sub``, ``ses``...), in their order.
    suffix : str
        The last part before the ending.
    """

    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, path: Path) -> BidsName | None:
        """Take the name of a file apart; None where it is not of a person or a template, as BIDS writes it."""
        *parts, suffix = path.name.partition('.')[0].split('_')
        found = [_ENTITY.fullmatch(part) for part in parts]
        if not all(found) or not suffix.isalnum():
            return None
        entities = {match[1]: match[2] for match in found if match}
        return cls(entities, suffix) if {'sub', 'tpl'} & entities.keys() else None

    @property
    def space(self) -> str:
        """The space that the file is in: what it says, or else its template, or the contrast that it is a scan of.

        The cohort of a template stands behind it as in the names of transforms: ``MNIInfant+2``.
        """
        template = self.entities.get('space') or self.entities.get('tpl')
        if template and (cohort := self.entities.get('cohort')):
            return f'{template}+{cohort}'
        return template or self.suffix


def same_label(one: str, other: str) -> bool:
    """Tell whether two labels are the same; 1 and 01 are."""
    return one == other or (one.isdecimal() and other.isdecimal() and int(one) == int(other))


def result_name(source: Path, kind: FileKind, subject: str, session: str, space: str) -> str:
    """Return the name of what is made of a file: its own entities, and the new space.

    Parameters
    ----------
    source
        The file.
    kind
        What it is.
    subject, session
        Labels; the latter may be empty.
    space
        Where it is brought to.

    Raises
    ------
    InputError
        If the file has no BIDS name, and there is no telling which suffix is due.
    """
    name, ending = BidsName.of(source), kind.ending_of(source)
    head = {'sub': subject} | ({'ses': session} if session else {})
    template, _, cohort = space.partition('+')
    where = {'space': template} | ({'cohort': cohort} if cohort else {})
    if name is None:
        if not kind.suffix:
            raise InputError(
                f'{source}: its name does not say what it shows, which the name of the result has to. Rename it '
                f'as BIDS has it, such as sub-{subject}_T2w.nii.gz, or name one result with -o.'
            )
        stem = re.sub(r'[^0-9a-zA-Z]', '', source.name.partition('.')[0])
        return _joined({**head, **where, 'desc': stem or 'carried'}, kind.suffix + ending)
    left = {key: value for key, value in name.entities.items() if key not in (*_OF_TEMPLATE, 'space')}
    if kind.on_grid:  # which is another one now
        left.pop('res', None)
    ahead = {key: value for key, value in left.items() if key not in _BEHIND_SPACE}
    behind = {key: value for key, value in left.items() if key in _BEHIND_SPACE}
    return _joined({**head, **ahead, **where, **behind}, name.suffix + ending)


def _joined(entities: Mapping[str, str], end: str) -> str:
    return '_'.join([*(f'{key}-{value}' for key, value in entities.items()), end])


def result_folder(source: Path, out: Path, subject: str, session: str) -> Path:
    """Return the folder of a result in a dataset: the one of its kind of data, ``anat`` where that is not told."""
    datatype = source.absolute().parent.name
    person = out / f'sub-{subject}'
    return (person / f'ses-{session}' if session else person) / (datatype if datatype in DATATYPES else 'anat')
