import { useEffect, useRef } from 'preact/hooks'
import { RULES } from './keys'
import type { PartProps } from './panel'

const MOUSE: readonly [string, string][] = [
  ['Click, drag', 'move the crosshair, or paint while the brush is on'],
  ['Right button, drag', 'window (left and right) and level (up and down)'],
  ['Wheel', 'through the slices of the picture under the pointer'],
  ['Middle button or Shift, drag', 'move the picture'],
  ['Double click', 'one picture alone, and back; with all sequences: whole pictures again'],
  ['Ctrl and wheel, or two fingers', 'with all sequences: zoom about the pointer, move'],
]

/** All keys and gestures; the keys are those of the table that the viewer obeys. */
export function Help({ scene }: Pick<PartProps, 'scene'>) {
  const dialog = useRef<HTMLDialogElement>(null)
  const open = scene.state.help.value
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal()
    if (!open) dialog.current?.close()
  }, [open])
  const close = () => {
    scene.state.help.value = false
  }
  return (
    <dialog ref={dialog} class="scene-help" aria-labelledby="scene-help" onClose={close}>
      <header class="scene-box-head">
        <h2 id="scene-help">Keys and gestures</h2>
        <button type="button" class="scene-toggle" onClick={close}>
          Close
        </button>
      </header>
      <table>
        <caption class="sr-only">Keys</caption>
        <tbody>
          {RULES.map(({ shown, does }) => (
            <tr key={shown}>
              <th scope="row">
                <kbd>{shown}</kbd>
              </th>
              <td>{does}</td>
            </tr>
          ))}
          {MOUSE.map(([shown, does]) => (
            <tr key={shown}>
              <th scope="row">{shown}</th>
              <td>{does}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <label class="scene-check">
        <input
          type="checkbox"
          checked={scene.state.keysOn.value}
          onChange={(event) => {
            scene.state.keysOn.value = event.currentTarget.checked
          }}
        />
        Single keys act on the viewer
      </label>
    </dialog>
  )
}
