import { NO_BRAIN } from './brain'
import { Swatch } from './LabelList'
import type { PartProps } from './panel'
import { BRUSHES } from './state'
import { widthOf } from './window'

function PenChoice({ scene, vocabulary }: PartProps) {
  const { pen } = scene.state
  return (
    <>
      <fieldset class="scene-group">
        <legend class="sr-only">The brush paints</legend>
        {vocabulary.labels.map((label) => (
          <button
            key={label.key}
            type="button"
            class="scene-toggle"
            aria-pressed={!pen.value.erase && pen.value.label === label.value}
            title={label.name}
            onClick={() => scene.edit.setPen({ label: label.value, erase: false })}
          >
            <Swatch colour={label.colour} /> {label.key}
          </button>
        ))}
        <button
          type="button"
          class="scene-toggle"
          aria-pressed={pen.value.erase}
          onClick={() => scene.edit.setPen({ erase: !pen.value.erase })}
        >
          Eraser
        </button>
      </fieldset>
      <fieldset class="scene-group">
        <legend class="sr-only">Brush width in voxels</legend>
        {BRUSHES.map((size) => (
          <button
            key={size}
            type="button"
            class="scene-toggle"
            aria-pressed={pen.value.size === size}
            aria-label={`${size} voxel${size === 1 ? '' : 's'} wide`}
            onClick={() => scene.edit.setPen({ size })}
          >
            {size}
          </button>
        ))}
        <button
          type="button"
          class="scene-toggle"
          aria-pressed={pen.value.fill}
          title="Fill what a stroke encloses"
          onClick={() => scene.edit.setPen({ fill: !pen.value.fill })}
        >
          Fill shapes
        </button>
      </fieldset>
    </>
  )
}

/** The brush changes voxels of some intensities only, a threshold, or of the brain only. */
function Limit({ scene }: PartProps) {
  const { pen, cursor, window: shown, choice, hasBrain } = scene.state
  const { limit, brain } = pen.value
  const set = (low: number, high: number) =>
    scene.edit.setPen({ limit: { low: Math.min(low, high), high: Math.max(low, high) } })
  const begin = () => {
    const [here, reach] = [cursor.value?.intensity ?? 0, 0.15 * widthOf(shown.value)]
    set(here - reach, here + reach)
  }
  const field = (name: 'low' | 'high', label: string) => (
    <label class="scene-limit">
      <span>{label}</span>
      <input
        type="number"
        step="any"
        name={`limit-${name}`}
        value={limit ? Number(limit[name].toPrecision(4)) : ''}
        onChange={(event) => {
          const value = Number(event.currentTarget.value)
          if (limit && Number.isFinite(value))
            set(...(name === 'low' ? ([value, limit.high] as const) : ([limit.low, value] as const)))
        }}
      />
    </label>
  )
  return (
    <fieldset class="scene-group">
      <legend class="sr-only">What the brush may change</legend>
      <button
        type="button"
        class="scene-toggle"
        aria-pressed={limit !== null}
        title="The brush changes only voxels whose intensity is like that at the crosshair"
        data-act="limit"
        onClick={() => (limit ? scene.edit.setPen({ limit: null }) : begin())}
      >
        Only some intensities
      </button>
      {limit && (
        <>
          {field('low', 'from')}
          {field('high', 'to')}
          <span class="soft small-text">of {choice.value?.title}</span>
        </>
      )}
      <button
        type="button"
        class="scene-toggle"
        aria-pressed={brain !== null}
        aria-describedby={hasBrain.value ? undefined : 'scene-no-brain'}
        disabled={!hasBrain.value}
        title="The brush changes only voxels inside the brain, as the run found it"
        data-act="brain-only"
        onClick={() => void scene.edit.keepToBrain(brain === null)}
      >
        Brain only
      </button>
      {!hasBrain.value && (
        <span class="soft small-text" id="scene-no-brain">
          {NO_BRAIN}
        </span>
      )}
    </fieldset>
  )
}

/** Whole parts at once: what hangs together at the crosshair, and slices between painted ones. */
function Parts({ scene, vocabulary }: PartProps) {
  const { cursor, pen } = scene.state
  const here = cursor.value?.label ?? 0
  const name = vocabulary.labels.find(({ value }) => value === here)?.key
  const brush = vocabulary.labels.find(({ value }) => value === pen.value.label)?.key
  return (
    <fieldset class="scene-group">
      <legend class="scene-legend">{name ? `The ${name} part at the crosshair` : 'No label at the crosshair'}</legend>
      <button
        type="button"
        class="scene-toggle"
        disabled={!here}
        data-act="remove-part"
        onClick={() => scene.edit.relabelPart(0)}
      >
        Remove it
      </button>
      <button
        type="button"
        class="scene-toggle"
        disabled={!here || here === pen.value.label}
        data-act="relabel-part"
        onClick={() => scene.edit.relabelPart(pen.value.label)}
      >
        Make it {brush}
      </button>
      <button
        type="button"
        class="scene-toggle"
        title="Fills the empty slices around this one with the shapes between the nearest painted ones"
        data-act="interpolate"
        onClick={() => scene.edit.interpolate()}
      >
        Fill {brush} between slices
      </button>
    </fieldset>
  )
}

/** Correct the mask: brush, eraser, undo, save. */
export function EditBar(props: PartProps) {
  const { scene } = props
  const { state } = scene
  const unsaved = state.unsaved.value
  return (
    <section class="scene-box scene-edit" aria-labelledby="scene-edit">
      <header class="scene-box-head">
        <h3 id="scene-edit">Correct</h3>
        <button
          type="button"
          class="scene-toggle"
          aria-pressed={state.drawing.value}
          disabled={state.before.value}
          title={state.before.value ? 'The mask before cleaning cannot be changed' : 'Brush on and off (B)'}
          onClick={() => scene.toggleMode('draw')}
        >
          Brush
        </button>
      </header>
      {state.drawing.value && <PenChoice {...props} />}
      {state.drawing.value && <Limit {...props} />}
      {state.drawing.value && <Parts {...props} />}
      <div class="scene-group">
        <button
          type="button"
          class="scene-toggle"
          disabled={state.edits.value.undoable < 1 || state.before.value}
          onClick={() => scene.edit.undo()}
        >
          Undo
        </button>
        <button
          type="button"
          class="scene-toggle"
          disabled={state.edits.value.redoable < 1 || state.before.value}
          onClick={() => scene.edit.redo()}
        >
          Redo
        </button>
        <button
          type="button"
          class="scene-toggle scene-primary"
          disabled={!unsaved || state.saving.value || state.before.value}
          aria-busy={state.saving.value}
          onClick={() => void scene.edit.save()}
        >
          {state.saving.value ? 'Saving…' : 'Save as new version'}
        </button>
      </div>
      <p class="scene-unsaved" role="status">
        {unsaved && (
          <>
            Unsaved changes.{' '}
            <button
              type="button"
              class="scene-link"
              disabled={state.saving.value}
              onClick={() => void scene.edit.showVersion(state.version.value, true)}
            >
              Discard them
            </button>
          </>
        )}
      </p>
    </section>
  )
}
