"""The figures of a result as a DICOM measurement report (TID 1500) of the series that it was made on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from hope.domain.labels import PEDS, REGION_NAMES
from hope.formats.dicom_codes import (
    ABNORMAL_STRUCTURE,
    ABSENT,
    ARTIFICIAL_INTELLIGENCE,
    BRAIN,
    CUBIC_CENTIMETRE,
    EXPECTED_DICE,
    EXPECTED_QUALITY,
    LONG_AXIS,
    MILLIMETRE,
    MR_BRAIN,
    NEOPLASM,
    NO_UNITS,
    SHORT_AXIS,
    TISSUES,
    VERDICTS,
    VOLUME,
    Code,
)
from hope.formats.dicom_seg import (
    MANUFACTURER,
    Algorithm,
    ObjectUIDs,
    concept,
    described,
    series_number,
    state_character_set,
)
from hope.formats.dicom_source import SourceSeries, making_objects, uid_of

_Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations

_DIGITS = 4


@dataclass(frozen=True)
class VolumeFigure:
    """A volume in millilitres, with its interval where there is one."""

    ml: float
    low_ml: float | None = None
    high_ml: float | None = None


@dataclass(frozen=True)
class LesionFigure:
    """Two perpendicular diameters of one lesion in mm; ``number`` counts the lesions from 1."""

    number: int
    long_mm: float
    short_mm: float


@dataclass(frozen=True)
class ReportFigures:
    """What a measurement report states.

    Attributes:
        volumes: label key or region (TC, WT) -> volume.
        verdict: of the expected quality, empty where the model cannot tell.
        expected_dice: region -> expected Dice.
        lesions: measured lesions.
        remarks: warnings and cautions of the result, one sentence each.
    """

    volumes: Mapping[str, VolumeFigure]
    verdict: str = ""
    expected_dice: Mapping[str, float] = field(default_factory=dict)
    lesions: Sequence[LesionFigure] = ()
    remarks: Sequence[str] = ()


def make_report(
    figures: ReportFigures,
    source: SourceSeries,
    segmentation: Dataset | None,
    algorithm: Algorithm,
    uids: ObjectUIDs,
    tracking: Mapping[str, str],
) -> Dataset:
    """Make the report: a measurement group for each segment, tumour core, whole tumour and lesion.

    Args:
        figures: what it states.
        source: the series; the object carries its identity.
        segmentation: the object whose segments were measured; None where no tumour was found, which is then stated.
        algorithm: what made the figures.
        uids: of the object.
        tracking: label key or region -> UID that is equal on every date of the patient.

    Raises:
        InputError: if headers or figures cannot be carried into an object.
    """
    how = sr.AlgorithmIdentification(
        name=algorithm.model,
        version=algorithm.version,
        parameters=[f"sha256 {algorithm.sha256}"] if algorithm.sha256 else None,
        family=concept(ARTIFICIAL_INTELLIGENCE),
        manufacturer=MANUFACTURER,
    )
    with making_objects():
        groups: list[_Group] = []
        if segmentation is None:
            groups.append(_no_tumour(source, how, tracking, figures.verdict))
        else:
            groups += _segment_groups(figures, segmentation, how, tracking)
            groups += _region_groups(figures, source, how, tracking)
            groups += [_lesion_group(lesion, source, how, tracking) for lesion in figures.lesions]
        for group in groups if figures.remarks else ():
            _remark(group, figures.remarks)
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=_observer(algorithm)),
            procedure_reported=concept(MR_BRAIN),
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        )
        evidence = list(source.headers) if segmentation is None else [segmentation, *source.headers]
        made = sr.ComprehensiveSR(
            evidence=evidence,
            content=content[0],
            series_instance_uid=uids.series,
            series_number=series_number(source, 2),
            sop_instance_uid=uids.instance,
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=False,
            is_verified=False,
            manufacturer_model_name=algorithm.model,
            software_versions=algorithm.software,
            series_description=described("HOPE measurements", algorithm),
            specific_character_set=None,
        )
        state_character_set(made, source)
    return made


def _observer(algorithm: Algorithm) -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=UID(uid_of("device", algorithm.model, algorithm.sha256, algorithm.software)),
            name="HOPE, research use only, not a medical device",
            manufacturer_name=MANUFACTURER,
            model_name=algorithm.model,
        ),
    )


def _tracked(name: str, key: str, tracking: Mapping[str, str]) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=UID(tracking[key]), identifier=name)


def _images(source: SourceSeries) -> list[sr.SourceImageForMeasurementGroup]:
    return [
        sr.SourceImageForMeasurementGroup(
            referenced_sop_class_uid=header.SOPClassUID, referenced_sop_instance_uid=header.SOPInstanceUID
        )
        for header in source.headers
    ]


def _volume(figure: VolumeFigure) -> sr.Measurement:
    """A volume in cm3 with what may be added to it and taken from it."""
    properties = None
    if figure.low_ml is not None and figure.high_ml is not None:
        properties = sr.MeasurementProperties(
            upper_measurement_uncertainty=round(max(0.0, figure.high_ml - figure.ml), _DIGITS),
            lower_measurement_uncertainty=round(max(0.0, figure.ml - figure.low_ml), _DIGITS),
        )
        for item in properties:  # the library states them without a unit
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [concept(CUBIC_CENTIMETRE)]
    return sr.Measurement(
        name=concept(VOLUME),
        value=round(figure.ml, _DIGITS),
        unit=concept(CUBIC_CENTIMETRE),
        properties=properties,
    )


def _segment_groups(
    figures: ReportFigures, segmentation: Dataset, how: sr.AlgorithmIdentification, tracking: Mapping[str, str]
) -> list[sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    names = {label.name: label.key for label in PEDS.labels}
    series = str(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID)
    groups = []
    for segment in segmentation.SegmentSequence:
        key = names.get(str(segment.SegmentLabel))
        if key is None:  # the background of a label map
            continue
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=_tracked(f"HOPE {key}", key, tracking),
                referenced_segment=sr.ReferencedSegment(
                    sop_class_uid=segmentation.SOPClassUID,
                    sop_instance_uid=segmentation.SOPInstanceUID,
                    segment_number=int(segment.SegmentNumber),
                    source_series=sr.SourceSeriesForSegmentation(referenced_series_instance_uid=series),
                ),
                finding_type=concept(TISSUES[key]),
                finding_category=concept(ABNORMAL_STRUCTURE),
                algorithm_id=how,
                finding_sites=[sr.FindingSite(anatomic_location=concept(BRAIN))],
                measurements=[_volume(figures.volumes[key])],
            )
        )
    return groups


def _region_groups(
    figures: ReportFigures, source: SourceSeries, how: sr.AlgorithmIdentification, tracking: Mapping[str, str]
) -> list[sr.MeasurementsAndQualitativeEvaluations]:
    """Tumour core and whole tumour: they have no segment of their own."""
    groups = []
    for region in ("TC", "WT"):
        if region not in figures.volumes:
            continue
        measurements = [_volume(figures.volumes[region])]
        if region in figures.expected_dice:
            measurements.append(_plain(EXPECTED_DICE, figures.expected_dice[region], NO_UNITS))
        quality = _quality(figures.verdict) if region == "WT" else []
        groups.append(_group(f"HOPE {REGION_NAMES[region]}", region, source, how, tracking, measurements, quality))
    return groups


def _lesion_group(
    lesion: LesionFigure, source: SourceSeries, how: sr.AlgorithmIdentification, tracking: Mapping[str, str]
) -> sr.MeasurementsAndQualitativeEvaluations:
    axes = [_plain(LONG_AXIS, lesion.long_mm, MILLIMETRE), _plain(SHORT_AXIS, lesion.short_mm, MILLIMETRE)]
    # Lesions are numbered anew on every date: a lesion's UID is of this report alone.
    own = {"lesion": uid_of("lesion", tracking["WT"], source.uid, str(lesion.number))}
    return _group(f"HOPE lesion {lesion.number}", "lesion", source, how, own, axes, [])


def _no_tumour(
    source: SourceSeries, how: sr.AlgorithmIdentification, tracking: Mapping[str, str], verdict: str
) -> sr.MeasurementsAndQualitativeEvaluations:
    absent = sr.QualitativeEvaluation(name=concept(NEOPLASM), value=concept(ABSENT))
    volume = _volume(VolumeFigure(0.0))
    return _group("HOPE: no tumour found", "WT", source, how, tracking, [volume], [absent, *_quality(verdict)])


def _group(
    name: str,
    key: str,
    source: SourceSeries,
    how: sr.AlgorithmIdentification,
    tracking: Mapping[str, str],
    measurements: list[sr.Measurement],
    evaluations: list[sr.QualitativeEvaluation],
) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(name, key, tracking),
        finding_type=concept(NEOPLASM),
        finding_category=concept(ABNORMAL_STRUCTURE),
        algorithm_id=how,
        finding_sites=[sr.FindingSite(anatomic_location=concept(BRAIN))],
        measurements=measurements,
        qualitative_evaluations=evaluations or None,
        source_images=_images(source),
    )


def _remark(group: _Group, remarks: Sequence[str]) -> None:
    """State the remarks in a measurement group: readers take groups out one by one."""
    for text in remarks:
        # A series in the default repertoire holds nothing else.
        plain = text.encode("ascii", "replace").decode("ascii")
        item = sr.TextContentItem(
            name=codes.DCM.Comment, value=plain, relationship_type=sr.RelationshipTypeValues.CONTAINS
        )
        group[0].ContentSequence.append(item)


def _plain(name: Code, value: float, unit: Code) -> sr.Measurement:
    return sr.Measurement(name=concept(name), value=round(value, _DIGITS), unit=concept(unit))


def _quality(verdict: str) -> list[sr.QualitativeEvaluation]:
    if verdict not in VERDICTS:
        return []
    return [sr.QualitativeEvaluation(name=concept(EXPECTED_QUALITY), value=concept(VERDICTS[verdict]))]
