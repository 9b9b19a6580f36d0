import { Popover } from '../app/popover'
import { MatchedMark, Matching } from './Matching'
import { type PartProps, sidesInWords } from './panel'
import { saveScreenshot } from './screenshot'
import { VIEWS, type View } from './state'
import { levelOf, spanOf, tidy, widthOf, windowOf } from './window'

const VIEW_NAMES: Record<View, string> = {
  multi: '2 × 2',
  axial: 'Axial',
  coronal: 'Coronal',
  sagittal: 'Sagittal',
  '3d': '3D',
}
const MARKS = { '': '', missing: 'missing', synthetic: 'synthetic' } as const

function Sequences({ scene }: PartProps) {
  const { sequences, sequence, sequenceBusy, sideBySide } = scene.state
  return (
    <fieldset class="scene-group">
      <legend class="sr-only">Sequence</legend>
      {sequences.value.map(({ key, title, file, mark }) => (
        <button
          key={key}
          type="button"
          class="scene-toggle"
          aria-pressed={sequence.value === key}
          aria-busy={sequenceBusy.value === key}
          disabled={file === null}
          data-sequence-choice={key}
          onClick={() => void scene.sequences.show(key)}
        >
          {title}
          {mark && <span class="scene-mark">{MARKS[mark]}</span>}
        </button>
      ))}
      <button
        type="button"
        class="scene-toggle"
        aria-pressed={sideBySide.value}
        title="All sequences side by side in one plane (Q)"
        data-act="side-by-side"
        onClick={() => void scene.sideBySide(!sideBySide.value)}
      >
        All<span class="sr-only"> sequences side by side</span>
      </button>
    </fieldset>
  )
}

function Views({ scene }: PartProps) {
  const { view, sideBySide, plane } = scene.state
  return (
    <fieldset class="scene-group">
      <legend class="sr-only">Pictures</legend>
      {VIEWS.map((name) => (
        <button
          key={name}
          type="button"
          class="scene-toggle"
          aria-pressed={sideBySide.value ? plane.value === name : view.value === name}
          data-view-choice={name}
          onClick={() => (sideBySide.value || view.value !== name) && scene.setView(name)}
        >
          {VIEW_NAMES[name]}
        </button>
      ))}
    </fieldset>
  )
}

function WindowLevel({ scene }: PartProps) {
  const { window: shown, range, mode } = scene.state
  const [width, level] = [widthOf(shown.value), levelOf(shown.value)]
  const { min, max } = range.value
  const span = spanOf(range.value)
  const step = span / 500
  const set = (newWidth: number, newLevel: number) => scene.setWindow(windowOf(newWidth, newLevel, range.value))
  return (
    <fieldset class="scene-group scene-window">
      <legend class="sr-only">Window and level</legend>
      <button
        type="button"
        class="scene-toggle"
        aria-pressed={mode.value === 'window'}
        title="Drag over a picture to change window and level (W). The right button always does."
        onClick={() => scene.toggleMode('window')}
      >
        Drag to adjust
      </button>
      <label class="scene-slider">
        <span>Window</span>
        <input
          type="range"
          name="window"
          min={step}
          max={2 * span}
          step={step}
          value={width}
          aria-valuetext={tidy(width)}
          onInput={(event) => set(Number(event.currentTarget.value), level)}
        />
        <output>{tidy(width)}</output>
      </label>
      <label class="scene-slider">
        <span>Level</span>
        <input
          type="range"
          name="level"
          min={min}
          max={max}
          step={step}
          value={level}
          aria-valuetext={tidy(level)}
          onInput={(event) => set(width, Number(event.currentTarget.value))}
        />
        <output>{tidy(level)}</output>
      </label>
      <button type="button" class="scene-toggle" onClick={() => scene.resetWindow()}>
        Reset<span class="sr-only"> window and level</span>
      </button>
    </fieldset>
  )
}

function Zoom({ scene }: PartProps) {
  return (
    <>
      <button type="button" class="scene-toggle" aria-label="Zoom out" onClick={() => scene.zoom(1 / 1.25)}>
        −
      </button>
      <button type="button" class="scene-toggle" aria-label="Zoom in" onClick={() => scene.zoom(1.25)}>
        +
      </button>
    </>
  )
}

/** One row above the pictures: what is shown, and how. */
export function Toolbar(props: PartProps) {
  const { scene } = props
  const { radiological, canMatch } = scene.state
  return (
    <div class="scene-toolbar">
      <Sequences {...props} />
      <Views {...props} />
      <Popover
        title={
          <>
            Contrast
            <MatchedMark {...props} />
          </>
        }
        name="contrast"
      >
        <WindowLevel {...props} />
        {canMatch.value && <Matching {...props} />}
      </Popover>
      <fieldset class="scene-group">
        <legend class="sr-only">Display</legend>
        <button
          type="button"
          class="scene-toggle"
          role="switch"
          aria-checked={radiological.value}
          title={sidesInWords(radiological.value)}
          onClick={() => scene.setRadiological(!radiological.value)}
        >
          {radiological.value ? 'R | L' : 'L | R'}
          <span class="sr-only"> radiological sides</span>
        </button>
        <Zoom {...props} />
        <button
          type="button"
          class="scene-toggle"
          aria-label="Screenshot"
          title="Screenshot"
          onClick={() => void saveScreenshot(props)}
        >
          <svg class="scene-icon" viewBox="0 0 24 24" aria-hidden="true">
            <path d="M4 8h3l1.6-2.5h6.8L17 8h3v11H4Z" />
            <circle cx="12" cy="13" r="3.4" />
          </svg>
        </button>
        {document.fullscreenEnabled && (
          <button
            type="button"
            class="scene-toggle"
            title="Full screen"
            aria-label="Full screen"
            data-act="full-screen"
            onClick={(event) => {
              if (document.fullscreenElement) void document.exitFullscreen()
              else void event.currentTarget.closest('.scene')?.requestFullscreen()
            }}
          >
            <svg class="scene-icon" viewBox="0 0 24 24" aria-hidden="true">
              <path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5" />
            </svg>
          </button>
        )}
        <button
          type="button"
          class="scene-toggle"
          aria-haspopup="dialog"
          title="Keys and gestures (?)"
          onClick={() => {
            scene.state.help.value = true
          }}
        >
          <span class="sr-only">Keys </span>?
        </button>
      </fieldset>
    </div>
  )
}
