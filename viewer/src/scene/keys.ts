/** The keyboard: one table that the viewer obeys and the help shows. */

export type Action =
  | 'help'
  | 'leave'
  | 'undo'
  | 'redo'
  | 'hide-all'
  | 'label'
  | 'pen-label'
  | 'style'
  | 'next-sequence'
  | 'previous-sequence'
  | 'view-multi'
  | 'view-axial'
  | 'view-coronal'
  | 'view-sagittal'
  | 'view-3d'
  | 'side-by-side'
  | 'sides'
  | 'window'
  | 'reset-window'
  | 'zoom-in'
  | 'zoom-out'
  | 'zoom-reset'
  | 'draw'
  | 'erase'
  | 'thinner'
  | 'thicker'
  | 'compare'
  | 'compare-brightness'
  | 'jump'
  | 'uncertainty'
  | 'paint'
  | 'look'
  | 'move'

interface KeyRule {
  action: Action
  /** What the help prints. */
  shown: string
  does: string
  /** Only while the pictures themselves have the focus: elsewhere these keys scroll the page or press a button. */
  onCanvas?: boolean
  matches: (key: KeyPress) => boolean
}

export interface KeyPress {
  key: string
  code: string
  ctrl: boolean
  shift: boolean
  alt: boolean
}

const letter =
  (wanted: string, shift = false) =>
  (press: KeyPress): boolean =>
    press.key.toLowerCase() === wanted && press.shift === shift && !press.ctrl && !press.alt
/** A character, wherever the keyboard has it: with Shift, or with AltGr, which browsers report as Ctrl and Alt. */
const sign =
  (...wanted: string[]) =>
  (press: KeyPress): boolean =>
    wanted.includes(press.key) && press.ctrl === press.alt
const digit =
  (shift: boolean) =>
  (press: KeyPress): boolean =>
    /^(Digit|Numpad)[1-9]$/.test(press.code) && press.shift === shift && !press.ctrl && !press.alt

export const RULES: readonly KeyRule[] = [
  {
    action: 'look',
    shown: 'Shift Arrows',
    does: 'move the zoomed pictures, while all sequences are shown',
    onCanvas: true,
    matches: ({ key, shift, ctrl, alt }) => shift && !ctrl && !alt && key.startsWith('Arrow'),
  },
  {
    action: 'move',
    shown: 'Arrows',
    does: 'move the crosshair in the picture',
    onCanvas: true,
    matches: sign('ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'),
  },
  {
    action: 'move',
    shown: 'Page Up, Page Down',
    does: 'next and previous slice',
    onCanvas: true,
    matches: sign('PageUp', 'PageDown'),
  },
  { action: 'view-multi', shown: 'M', does: 'all four pictures', matches: letter('m') },
  { action: 'view-axial', shown: 'A', does: 'axial alone, and back', matches: letter('a') },
  { action: 'view-coronal', shown: 'C', does: 'coronal alone, and back', matches: letter('c') },
  { action: 'view-sagittal', shown: 'S', does: 'sagittal alone, and back', matches: letter('s') },
  { action: 'view-3d', shown: 'D', does: '3D alone, and back', matches: letter('d') },
  { action: 'side-by-side', shown: 'Q', does: 'all sequences in one plane, and back', matches: letter('q') },
  { action: 'next-sequence', shown: 'T', does: 'next sequence', matches: letter('t') },
  { action: 'previous-sequence', shown: 'Shift T', does: 'previous sequence', matches: letter('t', true) },
  { action: 'label', shown: '1 to 4', does: 'show or hide a label', matches: digit(false) },
  { action: 'hide-all', shown: 'H', does: 'hide or show all labels', matches: letter('h') },
  { action: 'style', shown: 'O', does: 'fill, outline or both', matches: letter('o') },
  { action: 'jump', shown: 'J', does: 'go to the next label', matches: letter('j') },
  { action: 'uncertainty', shown: 'U', does: 'where the model is uncertain, and back', matches: letter('u') },
  { action: 'compare', shown: 'X', does: 'before or after cleaning (post-processing)', matches: letter('x') },
  {
    action: 'compare-brightness',
    shown: 'Shift X',
    does: 'before or after brightness matching',
    matches: letter('x', true),
  },
  { action: 'window', shown: 'W', does: 'drag changes window and level', matches: letter('w') },
  { action: 'reset-window', shown: 'R', does: 'reset window and level', matches: letter('r') },
  { action: 'zoom-in', shown: '+', does: 'zoom in', matches: sign('+', '=') },
  { action: 'zoom-out', shown: '−', does: 'zoom out', matches: sign('-', '_') },
  { action: 'zoom-reset', shown: '0', does: 'whole picture', matches: sign('0') },
  { action: 'sides', shown: 'L', does: 'swap left and right of the pictures', matches: letter('l') },
  { action: 'draw', shown: 'B', does: 'brush on and off', matches: letter('b') },
  { action: 'erase', shown: 'E', does: 'eraser or label', matches: letter('e') },
  { action: 'pen-label', shown: 'Shift 1 to 4', does: 'label of the brush', matches: digit(true) },
  { action: 'thinner', shown: '[', does: 'thinner brush', matches: sign('[') },
  { action: 'thicker', shown: ']', does: 'thicker brush', matches: sign(']') },
  {
    action: 'paint',
    shown: 'Space',
    does: 'paint at the crosshair, while the brush is on',
    onCanvas: true,
    matches: sign(' '),
  },
  {
    action: 'undo',
    shown: 'Ctrl Z',
    does: 'take back the last stroke',
    matches: (press) => press.ctrl && !press.shift && !press.alt && press.key.toLowerCase() === 'z',
  },
  {
    action: 'redo',
    shown: 'Ctrl Y, Ctrl Shift Z',
    does: 'do again what was taken back',
    matches: ({ ctrl, shift, alt, key }) =>
      ctrl && !alt && ((!shift && key.toLowerCase() === 'y') || (shift && key.toLowerCase() === 'z')),
  },
  {
    action: 'leave',
    shown: 'Esc',
    does: 'close help, leave brush or window mode, back to four pictures',
    matches: sign('Escape'),
  },
  { action: 'help', shown: '?', does: 'show or close this list', matches: sign('?') },
]

/** What a key press asks for, or null. */
export function actionOf(press: KeyPress, onCanvas: boolean): Action | null {
  return RULES.find((rule) => rule.matches(press) && (onCanvas || !rule.onCanvas))?.action ?? null
}

/** 1 to 9 of a digit key. */
export const digitOf = (press: KeyPress): number => Number(press.code.slice(-1))

const TYPING = new Set(['INPUT', 'TEXTAREA', 'SELECT'])

/** Whether the user is typing or setting a control there, so that keys belong to it. */
export function typingIn(target: { tagName?: string; isContentEditable?: boolean } | null): boolean {
  return !!target && (TYPING.has(target.tagName ?? '') || target.isContentEditable === true)
}
