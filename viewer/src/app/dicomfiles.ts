/** Which of many files are DICOM. */
import type { Found } from './folder'

const ELSE = /\.(nii|gz|json|txt|pdf|jpe?g|png|html?|xml|csv|tsv|zip|exe|inf|ini|log|bval|bvec)$/i

/** Whether a file is DICOM by its mark, or may be: files without a mark have no extension of another kind. */
export async function isDicom({ path, file }: Found): Promise<boolean> {
  const name = path.split('/').at(-1) ?? ''
  // A DICOMDIR lists files by the names that stay here.
  if (name.startsWith('.') || /^DICOMDIR$/i.test(name) || file.size < 132) return false
  if (new TextDecoder('latin1').decode(await file.slice(128, 132).arrayBuffer()) === 'DICM') return true
  return !ELSE.test(name) && (/\.(dcm|ima|dicom)$/i.test(name) || !name.includes('.'))
}

export const dicomOf = async (found: readonly Found[]): Promise<File[]> => {
  const kept: File[] = []
  for (const one of found) if (await isDicom(one)) kept.push(one.file)
  return kept
}
