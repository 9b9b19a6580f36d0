/** The server’s small picture of a result: three slices with their parts, there before the viewer can draw. */
import type { FileOut } from '../api/types'

/** The small picture of the current mask, to show until the viewer is there. */
export const quickLook = (files: readonly FileOut[], version: number): string | null =>
  files.find((entry) => entry.version === version && /^(corrected-)?quick-look$/.test(entry.role ?? ''))?.name ?? null

/** The server’s picture, seen long before the viewer can draw. */
export function QuickLook(props: { url: string | null }) {
  if (!props.url) return null
  return (
    <img
      class="quick-look"
      src={props.url}
      width={1080}
      height={355}
      alt="Axial, coronal and sagittal slice through the tumour with its parts, drawn by the server"
    />
  )
}
