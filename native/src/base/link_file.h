// A name for an open file that was made without one (O_TMPFILE): what Node's fs.link cannot do.
#pragma once

namespace iconface {

/// Names the file behind `descriptor`; `path` must be free. 0, or errno: EEXIST where the name is taken; EOPNOTSUPP where
/// the system has no such files, ENOENT also where /proc is missing.
int link_file(int descriptor, const char* path);

}  // namespace iconface
