import { useEffect, useState } from 'preact/hooks'
import { Popover } from '../app/popover'
import { AXIS_OF, type Plane, type Vec3 } from './geometry'
import { labelName, type PartProps } from './panel'
import type { Cursor } from './state'
import { tidy } from './window'

const SPEAK_AFTER_MS = 700
const PLANE_NAMES: Record<Plane, string> = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' }

const mmText = (value: number): string => value.toFixed(1).replace('-', '−')

function sentenceOf({ mm, intensity, label }: Cursor, name: (label: number) => string): string {
  return `x ${mmText(mm[0])}, y ${mmText(mm[1])}, z ${mmText(mm[2])} millimetres, intensity ${tidy(intensity)}, ${name(label)}`
}

/** Tells where the crosshair is, once it rests: a moving crosshair would never stop talking. */
function Spoken({ text }: { text: string }) {
  const [said, say] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => say(text), SPEAK_AFTER_MS)
    return () => clearTimeout(timer)
  }, [text])
  return (
    <p class="sr-only" role="status">
      {said}
    </p>
  )
}

function GoTo({ scene }: Pick<PartProps, 'scene'>) {
  const at = scene.state.cursor.value?.mm ?? [0, 0, 0]
  return (
    <form
      class="scene-goto"
      onSubmit={(event) => {
        event.preventDefault()
        const form = new FormData(event.currentTarget)
        const mm = ['x', 'y', 'z'].map((name) => Number(form.get(name))) as unknown as Vec3
        if (mm.every(Number.isFinite)) scene.goTo(mm)
      }}
    >
      {(['x', 'y', 'z'] as const).map((name, axis) => (
        <label key={name}>
          {name}
          <input type="number" name={name} step="any" required defaultValue={String(+(at[axis] ?? 0).toFixed(1))} />
        </label>
      ))}
      <button type="submit" class="scene-toggle">
        Go
      </button>
    </form>
  )
}

/** Through the slices of the plane that was touched last. */
function SliceSlider({ scene }: Pick<PartProps, 'scene'>) {
  const { plane, cursor, sizes } = scene.state
  const axis = AXIS_OF[plane.value]
  const [at, count] = [(cursor.value?.voxel[axis] ?? 0) + 1, sizes.value[axis]]
  return (
    <label class="scene-slider scene-slices">
      <span class="scene-plane">{PLANE_NAMES[plane.value]}</span>
      <input
        type="range"
        name="slice"
        min={1}
        max={count}
        step={1}
        value={at}
        aria-valuetext={`${plane.value} slice ${at} of ${count}`}
        onInput={(event) => scene.goToSlice(Number(event.currentTarget.value) - 1)}
      />
      <output>
        {at} of {count}
      </output>
    </label>
  )
}

/** Where the crosshair is and what is there. */
export function Readout({ scene, vocabulary }: PartProps) {
  const cursor = scene.state.cursor.value
  const name = (label: number): string => labelName(vocabulary, label)
  if (!cursor) return <div class="scene-readout" />
  const { mm, intensity, label } = cursor
  const uncertain = scene.uncertainty.at(cursor.voxel)
  return (
    <div class="scene-readout" data-mm={mm.map((value) => value.toFixed(3)).join(' ')} data-label-value={label}>
      <SliceSlider scene={scene} />
      <dl>
        <div>
          <dt>
            <abbr title="World coordinates: x to the patient's right, y to the front, z to the top">x y z</abbr>
          </dt>
          <dd class="scene-mm">{mm.map(mmText).join('  ')} mm</dd>
        </div>
        <div>
          <dt>Intensity</dt>
          <dd class="scene-number">{tidy(intensity)}</dd>
        </div>
        <div>
          <dt>Label</dt>
          <dd>{name(label)}</dd>
        </div>
        {uncertain !== null && (
          <div>
            <dt>Uncertain</dt>
            <dd class="scene-number" data-uncertain-here={uncertain.toFixed(4)}>
              {Math.round(100 * uncertain)} %
            </dd>
          </div>
        )}
      </dl>
      <Popover title="Go to" name="go-to">
        <GoTo scene={scene} />
      </Popover>
      <Spoken text={sentenceOf(cursor, name)} />
    </div>
  )
}
