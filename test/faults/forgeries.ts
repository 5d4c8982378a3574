/** Every rule of the checker with a forgery that breaks it, and it alone, in a good history. */
import type { Forgery } from "./forgeries/forgery.ts";
import { OF_HOSTS } from "./forgeries/hosts.ts";
import { OF_RESULTS } from "./forgeries/results.ts";
import { OF_ROTATION } from "./forgeries/rotation.ts";

export const FORGERIES: readonly Forgery[] = [...OF_RESULTS, ...OF_ROTATION, ...OF_HOSTS];
