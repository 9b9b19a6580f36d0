"""What ``hope.segment`` returns."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib

from hope.contract.outputs import OutputFile, Role
from hope.contract.report import CaseReport, ExpectedQualityFacts, Flag
from hope.contract.result import CaseResult
from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.domain.wording import millilitres
from hope.formats.atomic import atomic_output
from hope.formats.reading import input_error
from hope.python_api.images import to_nibabel
from hope.stages.report.result_folder import result_folder

_ALARMS = ("warning", "caution")


class Result:
    """The result of one case.

    Args:
        result: labels and report.
        files: name -> content, or the directory that holds them.
    """

    def __init__(self, result: CaseResult, files: Mapping[str, bytes] | Path) -> None:
        self._result, self._files = result, files

    @property
    def case_id(self) -> str:
        """A name that carries no identity."""
        return self._result.case_id

    @property
    def report(self) -> CaseReport:
        """All facts of result.json, typed: volumes with intervals, remarks, model, seconds."""
        return self._result.report

    @property
    def labels(self) -> nib.Nifti1Image:
        """The labels on the reference scan's own grid (t1c if given): uint8, 1 ET, 2 NET, 3 CC, 4 ED, RAS+ mm."""
        return to_nibabel(self._result.native_labels)

    @property
    def atlas_labels(self) -> nib.Nifti1Image:
        """The labels on the atlas grid: 240 x 240 x 155 at 1 mm."""
        return to_nibabel(self._result.atlas_labels)

    @property
    def volume(self) -> Volume:
        """The labels on the reference scan's own grid as a `hope.Volume`."""
        return self._result.native_labels

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Millilitres of ET, NET, CC, ED and the regions TC, WT; intervals are in ``report.volumes_ml``."""
        return {key: volume.ml for key, volume in self.report.volumes_ml.items()}

    @property
    def expected_quality(self) -> ExpectedQualityFacts | None:
        """How good the result is expected to be: a verdict, and the Dice of WT, TC and ET; None if unknown."""
        return self.report.expected_quality

    @property
    def warnings(self) -> list[str]:
        """The sentences of all cautions and warnings, warnings first."""
        return [flag.reason for flag in self._alarms()]

    @property
    def picture(self) -> bytes:
        """The preview, a PNG.

        Raises:
            InputError: if the results went to a directory and are gone from there.
        """
        return self._read(OutputFile.of(Role.PICTURE).name(self.case_id))

    def save(self, directory: str | os.PathLike[str], *, replace: bool = False) -> Path:
        """Write the files of ``hope segment`` to ``directory/<case>/``, all of them or none.

        Args:
            directory: is made if it does not exist; an earlier result of the same scans in it is replaced.
            replace: also replace one of this name that was made from other scans.

        Returns:
            the directory of the case.

        Raises:
            OutputError: if it cannot be written, or holds something else of that name, such as a result of other scans.
            InputError: if the results went to a directory and are gone from there.
        """
        if isinstance(self._files, Path):
            contents = {path.name: self._read(path.name) for path in self._listed(self._files)}
        else:
            contents = dict(self._files)
        with result_folder(Path(directory), self.case_id, replace=replace) as folder:
            for name, content in contents.items():
                with atomic_output(folder / name) as stream:
                    stream.write(content)
        return Path(directory) / self.case_id

    def __repr__(self) -> str:
        """One line: name, volumes, how many remarks."""
        volumes = ", ".join(f"{key} {millilitres(ml)}" for key, ml in self.volumes_ml.items())
        cautions = f"; {len(self.warnings)} cautions and warnings" if self.warnings else ""
        return f"<hope.Result {self.case_id}: {volumes} ml{cautions}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: remarks, picture, volumes, disclaimer. It names no file and loads nothing."""
        cautions = "".join(
            f"<li><b>{html.escape(flag.severity)}</b> {html.escape(flag.reason)}</li>" for flag in self._alarms()
        )
        rows = "".join(
            f"<tr><td>{html.escape(key)}</td><td style='text-align:right'>{millilitres(volume.ml)}</td>"
            f"<td style='text-align:right'>{_interval(volume.low_ml, volume.high_ml)}</td></tr>"
            for key, volume in self.report.volumes_ml.items()
        )
        found = "" if self.report.tumour_found else "<p><b>No tumour was found.</b></p>"
        expected = self.report.expected_quality
        quality = (
            f"<p><b>Expected quality: {html.escape(expected.verdict)}</b> ({html.escape(expected.figures())})</p>"
            if expected
            else ""
        )
        picture = base64.b64encode(self.picture).decode()
        return (
            f"<div><h4>{html.escape(self.case_id)}</h4>"
            f"{quality}{f'<ul>{cautions}</ul>' if cautions else ''}{found}"
            f"<img alt='preview of the labels' style='max-width:100%' src='data:image/png;base64,{picture}'>"
            f"<table><thead><tr><th>part</th><th>ml</th><th>interval</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{html.escape(self.report.disclaimer)}</p></div>"
        )

    def _alarms(self) -> list[Flag]:
        found = [flag for flag in self.report.qc if flag.severity in _ALARMS]
        return sorted(found, key=lambda flag: _ALARMS.index(flag.severity))

    def _read(self, name: str) -> bytes:
        if not isinstance(self._files, Path):
            return self._files[name]
        try:
            return (self._files / name).read_bytes()
        except FileNotFoundError as error:
            raise InputError("the results are no longer where they were written", fix="segment it again") from error
        except OSError as error:
            raise input_error("a result file", error) from error

    def _listed(self, folder: Path) -> list[Path]:
        """The files of this result: what the report lists, and the report itself."""
        names = [entry.name for entry in self.report.files]
        return [folder / name for name in (*names, OutputFile.of(Role.FACTS).name(self.case_id))]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{millilitres(low)} to {millilitres(high)}"
