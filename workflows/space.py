"""One person and one template, from the scan or from what a pair has left to the derivatives."""

from __future__ import annotations

import typing
from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.normalisations import ratios_of
from bidsreg.interfaces.publish_space import PublishSpace
from bidsreg.workflows.masking import fit_lesions_node, init_masking_wf
from bidsreg.workflows.normalisation import Along, init_normalisation_wf
from bidsreg.workflows.resources import gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.bids.normalisations import Normalisation
    from bidsreg.settings import Settings
    from bidsreg.templates.prepare import Template


def init_spaces_wf(
    *, settings: Settings, units: Sequence[tuple[Normalisation, Template]], name: str = 'bidsreg_spaces_wf'
) -> pe.Workflow:
    """Build the graph of all normalisations of a run, none of which can stop another.

    Parameters
    ----------
    settings
        The settings of the run.
    units
        The normalisations, each with its template made ready.
    name
        Name of the workflow.
    """
    workflow = pe.Workflow(name=name)
    workflow.add_nodes([init_space_wf(unit=unit, template=template, settings=settings) for unit, template in units])
    return workflow


def init_space_wf(
    *, unit: Normalisation, template: Template, settings: Settings, name: str | None = None
) -> pe.Workflow:
    """Build the graph of one normalisation.

    The scan and its mask are those that the pairs have left in the derivatives; where there is no finished pair, the
    first room makes them.

    Parameters
    ----------
    unit
        The reference scan, the space, and the pairs whose moving scans are brought along.
    template
        The template, made ready.
    settings
        The settings of the run.
    name
        Name of the workflow; by default that of the unit.

    Inputs
    ------
    scan
        The reference scan as it is in the dataset, or as a pair has left it. It is set from the unit.

    Outputs
    -------
    out_file
        The QC file in the derivatives; when it is there, so is everything else.
    """
    scan, along = unit.reference.scan, unit.carried
    workflow = pe.Workflow(name=name or unit.node_name)
    inputnode = pe.Node(niu.IdentityInterface(fields=['scan']), name='inputnode')
    outputnode = pe.Node(niu.IdentityInterface(fields=['out_file']), name='outputnode')
    normalisation_wf = init_normalisation_wf(
        others=[f'pair{number}' for number in range(len(unit.pairs))],
        along={key: Along(one.kind, None if one.on_reference else f'pair{one.pair}') for key, one in along.items()},
        device=settings.device,
        working_resolution=settings.working_resolution,
        random_seed=settings.random_seed,
        sloppy=settings.sloppy,
        omp_nthreads=settings.omp_nthreads,
        thresholds=settings.qc_thresholds,
        template_shape=voxel_shape(template.image),
        scan_shape=voxel_shape(scan.path),
    )
    inputs = normalisation_wf.get_node('inputnode').inputs
    inputs.template, inputs.template_mask = str(template.image), str(template.mask)
    inputs.references = [str(template.references[grid]) for grid in unit.space.grids]
    publish = pe.Node(
        PublishSpace(pairs=len(unit.pairs), along=list(along), unit=unit, settings=settings),
        name='publish',
        mem_gb=gigabytes('publish'),
    )
    made = ['forward', 'inverse', 'jacobian', 'images', 'masks', 'facts', 'figures']
    made += [f'pair{number}_{part}' for number in range(len(unit.pairs)) for part in ('forward', 'inverse', 'images')]
    made += [f'{key}_images' for key in along]
    workflow.connect([
        (normalisation_wf, publish, [(f'outputnode.{field}', field) for field in made]),
        (publish, outputnode, [('out_file', 'out_file')]),
    ])  # fmt:skip
    if unit.pairs:
        _take_from_pairs(unit, settings, inputnode, inputs)
        workflow.connect(inputnode, 'scan', normalisation_wf, 'inputnode.scan')
        if unit.reference.lesions:
            _leave_lesions_out(unit, workflow)
        _bring_lesions_of_pairs(unit, workflow)
        return workflow
    inputnode.inputs.scan = str(scan.path)
    masking_wf = _masking(unit, settings)
    notes = _notes_node('mask_method', 'findings', 'skull_stripped', 'lesion_method')
    workflow.connect([
        (inputnode, masking_wf, [('scan', 'inputnode.in_file')]),
        (masking_wf, normalisation_wf, [
            ('outputnode.preproc', 'inputnode.scan'),
            ('outputnode.mask', 'inputnode.scan_mask'),
            ('outputnode.lesion', 'inputnode.scan_lesion'),
        ]),
        (masking_wf, notes, [
            ('outputnode.method', 'mask_method'),
            ('outputnode.findings', 'findings'),
            ('outputnode.skull_stripped', 'skull_stripped'),
            ('outputnode.lesion_method', 'lesion_method'),
        ]),
        (notes, normalisation_wf, [('out', 'inputnode.notes')]),
        (masking_wf, publish, [('outputnode.preproc', 'preproc'), ('outputnode.mask', 'brain')]),
        *([(masking_wf, normalisation_wf, [('outputnode.lesion_mask', 'inputnode.lesion_image')])]
          if unit.reference.lesions else []),
    ])  # fmt:skip
    return workflow


def _masking(unit: Normalisation, settings: Settings) -> pe.Workflow:
    """Build the first room for a scan that no pair has left."""
    reference = unit.reference
    masking_wf = init_masking_wf(
        skull_strip=settings.skull_strip,
        bias_correction=settings.bias_correction,
        contrast=reference.scan.contrast,
        is_uni=reference.scan.suffix == 'UNIT1',
        lesions=reference.lesions,
        sloppy=settings.sloppy,
        omp_nthreads=settings.omp_nthreads,
        shape=voxel_shape(reference.scan.path),
    )
    if reference.mask is not None:
        masking_wf.get_node('inputnode').inputs.user_mask = str(reference.mask)
    if reference.scan.inversions:
        masking_wf.get_node('inputnode').inputs.inversions = [str(path) for path in reference.scan.inversions]
    return masking_wf


def _leave_lesions_out(unit: Normalisation, workflow: pe.Workflow) -> None:
    """Bring the lesions of a scan that a pair has left onto its grid, and lead them to what looks at the scan."""
    inputnode, normalisation_wf = workflow.get_node('inputnode'), workflow.get_node('normalisation_wf')
    lesion = fit_lesions_node(unit.reference.lesions, voxel_shape(unit.reference.scan.path))
    notes = _notes_node('lesion_method')
    workflow.connect([
        (inputnode, lesion, [('scan', 'reference')]),
        (lesion, normalisation_wf, [
            ('out_file', 'inputnode.scan_lesion'),
            ('out_mask', 'inputnode.lesion_image'),
        ]),
        (lesion, notes, [('method', 'lesion_method')]),
        (notes, normalisation_wf, [('out', 'inputnode.notes')]),
    ])  # fmt:skip


def _bring_lesions_of_pairs(unit: Normalisation, workflow: pe.Workflow) -> None:
    """Bring the lesions of the moving scans of pairs onto their grids, and lead them on into the space."""
    normalisation_wf = workflow.get_node('normalisation_wf')
    for number, pair in enumerate(unit.pairs):
        if pair.moving_lesions:
            key = f'pair{number}_lesion'
            node = fit_lesions_node(pair.moving_lesions, voxel_shape(pair.moving), name=f'fit_{key}')
            node.inputs.reference = getattr(normalisation_wf.get_node('inputnode').inputs, f'pair{number}_image')
            workflow.connect(node, 'out_mask', normalisation_wf, f'inputnode.{key}_image')


def _notes_node(*names: str) -> pe.Node:
    """Return a node that puts what is known of a scan under these names into one dictionary, as facts."""
    notes = pe.Node(niu.Function(function=_notes, input_names=list(names)), name='notes')
    notes.run_without_submitting = True
    return notes


def _notes(**known: object) -> dict:
    """Return what is known of a scan, as facts."""
    return known


def _take_from_pairs(unit: Normalisation, settings: Settings, inputnode: pe.Node, inputs: typing.Any) -> None:
    """Set what finished pairs have left: the scan, its mask, and the moving scans with their transforms."""
    paths = [pair_outputs(pair, settings.output_dir) for pair in unit.pairs]
    inputnode.inputs.scan = str(paths[0]['fixed_preproc'])
    inputs.scan_mask = str(paths[0]['fixed_mask'])
    for number, files in enumerate(paths):
        setattr(inputs, f'pair{number}_image', str(files['moving_preproc']))
        setattr(inputs, f'pair{number}_forward', str(files['forward_xfm']))
        setattr(inputs, f'pair{number}_inverse', str(files['inverse_xfm']))
    for key, path in ratios_of(unit, settings.output_dir).items():
        setattr(inputs, f'{key}_image', str(path))
