"""What people call the four sequences: one alias table for command line, BIDS names, the page and DICOM descriptions.

The tables are data, read by `hope.contract.sequences`. `viewer/src/app/sequences.generated.ts` is made from them by
``tools/make_sequence_table.py``, and ``tests/unit/contract/sequence_names.json`` holds the cases that both readers are
tested with.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TECHNIQUES = _words(
    "w wi weighted se tse fse ffe tfe ir gre spgr fspgr mprage mpr vibe space cube vista fl2d fl3d fs blade "
    "propeller 3d 2d iso ax sag cor tra"
)
"""What may stand glued to a weighting without changing it: t1w, t2tse, t1mprage."""

_GRADIENT_ECHOES = _words("ffe tfe gre spgr fspgr mprage mpr vibe fl2d fl3d")
"""Techniques whose "T2" is T2*."""

REPLACEMENTS: tuple[tuple[str, str], ...] = (
    (r"t2[ _.-]?(?:\*|star)", " t2star "),
    (r"\bt2w?[ _.-]?(?:gre|ffe|fl2d|fl3d|flash|flash2d|hemo)\b", " t2star "),
    (r"t1[ _.-]?rho", " t1rho "),
    (r"\bw(?:ith)?(?: ?[/&+] ?| and | )(?:wo|without)\b", " contrast without "),
    (r"\bw/o\b", " without "),
    (r"\bs/c\b", " without contrast "),
    (r"\bc/c\b", " contrast "),
    (r"\+ ?c\b", " contrast "),
    (r"\bc ?\+", " contrast "),
    (r" -c\b(?! ?\+)", " without contrast "),
    (r" -(?=(?:km|ce|gd|gad|gado|kontrast|contrast)\b)", " without "),
    (r"\b(?:km|gd|gad|gado|kontrast)-(?= |$)", " without contrast "),
    (r"\bs/ ?(?=contr|kontr|gad|gd|mdc)", " without "),
    (r"\bc-(?= |$)", " without contrast "),
    (r"(?<=t1c)-(?= |$)", " without contrast "),
    (r"\bdark[ _.-]?fl(?:uid)?\b", " flair "),
    (r"\bda[ _.-]?fl\b", " flair "),
    (r"\btirm[ _.-]?(?:dark|da)\b", " flair "),
    (r"\bmp[ _.-]?rage", " mprage "),
    (r"\bb[ _.-]?ffe\b", " bffe "),
    (r"\b(?:3|three)[ _.-]?plane", " localizer "),
    (r"\bproton[ _.-]?density\b", " pd "),
    (r"\bfield[ _.-]?map", " fieldmap "),
    (r"\bprior to\b", " before "),
)
"""Regular expression -> words: applied in this order to lower-case text in which spaces stand for underscores."""

ALIASES: dict[str, tuple[str, bool | None]] = {
    **{
        f"{lead}{stem}{end}": (stem, None)
        for stem, ends in (("t1", _TECHNIQUES), ("t2", _TECHNIQUES - _GRADIENT_ECHOES))
        for lead in ("", "3d")
        for end in ("", *ends)
    },
    **dict.fromkeys(("mprage", "bravo", "spgr", "fspgr", "vibe", "thrive", "tfl", "tfl3d"), ("t1", None)),
    **dict.fromkeys(
        ("t1n", "t1pre", "t1native", "t1nativ", "t1nogad", "t1nogd", "t1wo", "t1precontrast"), ("t1", False)
    ),
    **dict.fromkeys(
        (
            *("t1c", "t1ce", "t1gd", "t1gad", "t1post", "t1km", "t1contrast", "t1wce", "t1cw", "t1wc"),
            *("t1postgd", "t1postgad", "t1postcontrast", "t1wpost", "t1wgd", "t1enhanced"),
        ),
        ("t1", True),
    ),
    **dict.fromkeys(
        (
            *("flair", "t2f", "t2flair", "t2wflair", "t2tirm", "darkfluid", "flair3d", "flair2d", "3dflair"),
            *("2dflair", "axflair", "sagflair", "corflair", "flairw"),
        ),
        ("t2f", None),
    ),
}
"""Word -> weighting (t1, t2, t2f) and, for T1, whether contrast was given (None: the word does not say)."""

CONTRAST = _words(
    "ce gd gad gado gadolinium km contrast kontrast kontrastmittel contraste contrasto kontrastem mdc mezzo inj "
    "injected injection injektion enhanced gadovist gadavist dotarem magnevist prohance multihance omniscan "
    "clariscan gadoterate postcontrast postgad postgd postkm postce postinj apres après"
)
"""Words that say that contrast was given, unless a negation stands before them."""

AFTER = "post"
BEFORE = "pre"
"""``post`` says contrast and ``pre`` says none, unless the next word is one of `NOT_CONTRAST`."""

NOT_CONTRAST = _words(
    "op operative operativ operation surgery surgical resection biopsy treatment tx rt radiation radiotherapy "
    "chemo therapy processed processing proc hoc process"
)
"""After ``pre`` and ``post`` these words speak of surgery, therapy or computing."""

NATIVE = _words(
    "nonenhanced native nativ nativa nativo natif unenhanced noncontrast noncon nocontrast nogad nogd noce nokm "
    "nongad nongd precontrast pregad pregd prekm okm ogd ohnekm präkm praekm prägd précontraste precontraste prégado"
)
"""Words that say that no contrast was given."""

LONE_NEGATIONS = _words("non not none without wo ohne sans pre")
"""Negations that belong to the sequence wherever they stand beside it in a file name."""

NEGATIONS = LONE_NEGATIONS | _words(
    "no avant sin senza bez uten prä prae pré "
    "before minus kein keine keinem vor o antes sem prima zonder geen voor utan före fore uden før ilman przed před "
    "pred fara fără"
)
"""Before a word of `CONTRAST` (or ``c``) these say that no contrast was given; elsewhere they may be anybody's name."""

LETTER_NEGATION = "o"
"""Left of the sequence this letter may be an initial (``Kim_O_GD_T1``): there nobody can tell, and it is asked."""

AND = _words("and und et e y en og och")
"""Between two such words these speak of both: ``ohne und mit KM``."""

NEGATIONS_AT_END: frozenset[str] = frozenset(("without", "wo", "ohne", "sans"))
"""At the end of a text these say the same by themselves: ``T1 w/o``."""

AFTER_AGENT = _words("none neg negative negativ nein false")
LAST_AFTER_AGENT = _words("free no")
"""After an agent these say that it was not given; the latter only at the end: free breathing, no fat saturation."""

NEUTRAL_FILLERS = _words("iv with any the agent media medium")
"""Words between a negation and the agent that are nobody's name."""

LINKS = _words("of de del d du l la le di dell della do da der den dem des von")
"""Words that join two agents: ``sans injection de gadolinium``. They may be a part of a name or an initial."""

FILLERS = (
    NEUTRAL_FILLERS | LINKS | _words("i v medio meio produit produto moyen agente gabe administration administracion")
)
"""Words that may stand between a negation and the agent."""

OTHER = _words(
    "atlas template defacemask adc swi swan venbold t2star t2starw t2starmap qsm mip minip phase unit1 inv1 inv2 "
    "dwi dti "
    "diff diffusion trace tracew fa hardi epi ep2d asl cbf cbv rcbv mtt ttp perf perfusion dsc dce "
    "ktrans bold fmri sbref tof mra mrv angio angiography spectroscopy svs csi mrs pd pdw pdt2 t1map t2map r1map "
    "r2map r2starmap pdmap mtrmap mtsat b0 b0map b1 b1map tb1map fieldmap megre mese mp2rage ciss fiesta trufi "
    "bffe dess stir localizer localiser scout t1rho proton inplanet1 inplanet2"
)
"""Words that name an image which is none of the four sequences: it is known and left out."""

OTHER_IN_TEXT = _words(
    "survey loc sub subtraction subtr spine spinal cervical thoracic lumbar cspine tspine lspine map mapping b0map "
    "phasediff screenshot"
)
"""The same in a DICOM description, and in a file name behind the sequence, where they cannot be a person, a subject
or a folder."""

OTHER_PATTERN = r"b\d{2,4}|b0+"
"""Words of this form are b-values of diffusion imaging."""

NEUTRAL = (
    _words(
        "ax axial sag sagittal cor coronal tra trans transversal transverse obl se tse fse gre gr ir ffe tfe space "
        "cube vista blade propeller 3d 2d iso fs fatsat brain head mr mri anat acq desc rec run echo part mag w and "
        "with reg n4 stripped defaced orig raw scan image"
    )
    | NEUTRAL_FILLERS
)
"""Words without a say: they neither belong to a case's name nor change the sequence."""

LABELS: frozenset[str] = frozenset(
    (
        *("seg", "dseg", "segmentation", "label", "labels", "mask", "brainmask", "roi", "probseg", "lesion", "lesions"),
        *("prob", "probability", "probabilities", "pred", "prediction", "annotation", "contour"),
    )
)
"""Words that name a mask or a map of probabilities, which is no input."""

EXACT: frozenset[str] = frozenset(("t1n", "t1c", "t2w", "t2f", "t1ce", "t1gd", "t1", "t2", "flair", "t1w"))
"""Last words of the naming schemes BraTS, BIDS and the plain one: such a name outweighs a freer one beside it."""
