"""What a user can choose for a run. A new option is one field of `RunOptions` here, and the code that obeys it.

The command line's flags, the REST interface, the queue, the endpoint's payload and the page's form follow this model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hope.domain.errors import InputError


@dataclass(frozen=True)
class Ask:
    """How an option is asked for.

    Attributes:
        flag: on the command line: ``--model ID``, ``--yes/--no``, or ``--yes`` alone.
        help: what the command line's help says.
        title: what the page says.
        choices: what the page says for None, true and false; empty where the page has a tick or a list of its own.
        hint: a second sentence on the page; may be empty.
        also: an older spelling of the flag that still works; may be empty.
    """

    flag: str
    help: str
    title: str
    choices: tuple[str, ...] = ()
    hint: str = ""
    also: str = ""


class RunOptions(BaseModel):
    """What is chosen for a run. All may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Annotated[
        str | None,
        Ask(
            flag="--model ID",
            help="Model bundle; see `hope models list`.  [default: mixed]",
            title="Model",
            choices=("As the server prefers",),
        ),
    ] = Field(default=None, max_length=64, description="id of GET /api/models", examples=["mixed"])
    harmonize: Annotated[
        bool | None,
        Ask(
            flag="--harmonize/--no-harmonize",
            help="Bring the intensities to the bundled style first, if the anatomy stays what it is.  "
            "[default: no-harmonize]",
            title="Match brightness between scanners",
            choices=("As usual: no", "Yes", "No"),
        ),
    ] = Field(default=None, description="bring intensities to one style")
    preprocessed: Annotated[
        bool | None,
        Ask(
            flag="--preprocessed",
            help="Input is co-registered, 1 mm, in atlas space already.",
            title="The scans are preprocessed already",
            choices=(
                "Find out from the scans",
                "Yes: registered to one another, 1 mm, atlas space",
                "No: as they came from the scanner",
            ),
        ),
    ] = Field(default=None, description="true: the scans are in atlas space already; absent: they decide")
    postprocess: Annotated[
        bool,
        Ask(
            flag="--postprocess/--no-postprocess",
            help="Clean the model's answer up, or leave it as it is.",
            title="Clean the mask by fixed rules",
            hint="Removes tiny, uncertain pieces. The result shows what it changed.",
        ),
    ] = Field(default=True, description="false leaves the model's answer as it is")
    uncertainty_map: Annotated[
        bool,
        Ask(
            flag="--uncertainty-map",
            help="Also write <case>-uncertainty-atlas.nii.gz: where the mask is uncertain.",
            title="Also make a map of where the mask is uncertain",
            hint="A further file to download, in atlas space: 0 is certain, 1 is not.",
            also="--doubt-map",
        ),
    ] = Field(default=False, description="also write where the mask is uncertain, 0 to 1 on the atlas grid")
    show_head: Annotated[
        bool,
        Ask(
            flag="--show-head",
            help="Picture and report show the whole head, the face included.",
            title="Show the whole head in picture and report",
            hint="The face can be recognised then. Without it, only brain and tumour are shown.",
        ),
    ] = Field(default=False, description="picture and report show the whole head, the face included")
    deface: Annotated[
        bool,
        Ask(
            flag="--deface",
            help="Remove the face from the delivered images; the model sees them as it wants them.",
            title="Remove the face from the images to download",
            hint="Brain and tumour stay. Images of a model that sees the brain alone have no face anyway.",
        ),
    ] = Field(default=False, description="delivered images without a face; what the model sees does not change")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` wrote, of any version: unknown fields are left out, absent ones take the default."""
        return cls(**{name: values.get(name, field.default) for name, field in cls.model_fields.items()})

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Options as a program sent them; a null counts as left out.

        Raises:
            InputError: naming the first option that is unknown or of the wrong type.
        """
        try:
            return cls.stored(cls(**{name: value for name, value in values.items() if value is not None}).to_json())
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = cls.model_fields.get(name)
            if known is None:
                raise InputError("there is no such option", expected=", ".join(cls.model_fields), got=name) from None
            wanted = "true, false or nothing" if known.annotation in (bool, bool | None) else str(known.description)
            raise InputError(f"{name} is not usable", expected=wanted) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of all options."""
        return self.model_dump(mode="json")

    def chosen(self) -> dict[str, Any]:
        """Only what differs from the default, as plain JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True)
class Option:
    """One field of `RunOptions` and how it is asked for.

    Attributes:
        name: of the field.
        ask: flag and words.
        default: None, true or false.
        is_text: True for an id, False for yes or no.
    """

    name: str
    ask: Ask
    default: bool | None
    is_text: bool


def options() -> Iterator[Option]:
    """All options of a run, in order."""
    for name, field in RunOptions.model_fields.items():
        ask = next(entry for entry in field.metadata if isinstance(entry, Ask))
        yield Option(name, ask, field.default, field.annotation == str | None)
