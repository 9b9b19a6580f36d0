import { useEffect, useState } from 'preact/hooks'
import type { PartProps } from './panel'
import type { Phase } from './state'

const SAID: Partial<Record<Phase, string>> = {
  unsupported:
    'This browser cannot show 3D graphics (WebGL2), which the viewer needs. Switch on hardware acceleration in its settings or use another browser. Until then, here is the server’s picture; all files can be downloaded.',
  lost: 'The graphics card stopped drawing. Nothing is lost, and what you drew is kept: try again.',
  failed: 'The viewer could not be opened.',
}

/** What is shown instead of the viewer: why, the server's picture, and another try. */
export function Fallback({ scene }: Pick<PartProps, 'scene'>) {
  const { phase, message } = scene.state
  const [picture, setPicture] = useState('')
  useEffect(() => {
    let gone = false
    let url = ''
    scene
      .preview()
      .then((file) => {
        if (!file || gone) return
        url = URL.createObjectURL(file)
        setPicture(url)
      })
      .catch(() => {
        // The message above stands by itself, and a broken picture would say nothing more.
      })
    return () => {
      gone = true
      URL.revokeObjectURL(url)
    }
  }, [scene])
  const retry = () => {
    phase.value = 'loading' // brings a new canvas, and with it a new beginning: a lost one stays lost
  }
  return (
    <div class="scene-fallback">
      <div class="notice bad" role="alert">
        <p>
          {SAID[phase.value]} {phase.value === 'failed' ? message.value : ''}
        </p>
        <button type="button" class="button small" onClick={retry}>
          Try again
        </button>
      </div>
      {picture && <img src={picture} alt="Slices through the tumour with the model’s mask, drawn by the server" />}
    </div>
  )
}
