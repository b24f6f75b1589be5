// link_file: gives a name to an open file that has none (O_TMPFILE), which Node's fs.link cannot do.
#pragma once

namespace iconface {

/// Returns 0, or errno: EEXIST where `path` exists, EOPNOTSUPP where the system has no such files, ENOENT also where
/// /proc is missing.
int link_file(int descriptor, const char* path);

}  // namespace iconface
