import { ml } from '../app/format'
import { volumeOf } from '../app/vocabulary'
import { Difference } from './Difference'
import type { PartProps } from './panel'

function Wanted({ scene }: PartProps) {
  const wanted = scene.state.wanted.value
  if (wanted === null) return null
  return (
    <div class="notice warn" role="alert">
      <p>Your unsaved changes would be lost.</p>
      <div class="scene-group">
        <button type="button" class="button small primary" onClick={() => void scene.edit.saveThenShow(wanted)}>
          Save them first
        </button>
        <button type="button" class="button small danger" onClick={() => void scene.edit.showVersion(wanted, true)}>
          Discard them
        </button>
        <button type="button" class="button small" onClick={() => scene.leave()}>
          Stay
        </button>
      </div>
    </div>
  )
}

/** The model's answer, the user's corrections of it, and what post-processing changed. */
export function VersionList(props: PartProps) {
  const { scene, result } = props
  const { state } = scene
  const newest = state.versions.value.at(-1)?.version
  const shown = state.before.value ? -1 : state.version.value
  return (
    <section class="scene-box" aria-labelledby="scene-versions">
      <header class="scene-box-head">
        <h3 id="scene-versions">Versions</h3>
      </header>
      <ul class="scene-versions">
        {state.versions.value.map(({ version, made_by, volumes_ml }) => (
          <li key={version}>
            <button
              type="button"
              class="scene-version"
              aria-pressed={version === shown}
              data-version-choice={version}
              onClick={() => void scene.edit.showVersion(version)}
            >
              <span>
                {made_by === 'model' ? 'The model’s answer' : `Version ${version}, corrected`}
                {version === newest && version > 0 && <span class="soft"> · current</span>}
              </span>
              <span class="number">{ml(volumeOf(volumes_ml, 'WT').ml)} ml WT</span>
            </button>
          </li>
        ))}
      </ul>
      <Wanted {...props} />
      <Difference {...props} />
      {state.canCompare.value && (
        <>
          <button
            type="button"
            class="scene-toggle"
            aria-pressed={state.before.value}
            title="Before or after post-processing (X)"
            onClick={() => void scene.edit.compare()}
          >
            Before cleaning
          </button>
          <p class="scene-caption">
            {state.before.value
              ? 'You see the model’s answer before cleaning (post-processing); it cannot be changed here.'
              : result.postprocess?.changed === false
                ? 'Cleaning (post-processing) changed nothing in this case.'
                : 'Cleaning (post-processing) changed the model’s answer: compare before and after.'}
          </p>
        </>
      )}
    </section>
  )
}
