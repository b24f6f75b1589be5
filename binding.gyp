{
  # For prebuildify, which only knows node-gyp: the build itself is CMake's. It stays in the repository, since npm and yarn
  # build whatever package has a binding.gyp.
  "targets": [{
    "target_name": "iconface",
    "type": "none",
    "actions": [{
      "action_name": "cmake",
      "inputs": ["CMakeLists.txt"],
      "outputs": ["<(PRODUCT_DIR)/iconface.node"],
      "action": ["node", "scripts/cmake-from-gyp.cjs", "<(PRODUCT_DIR)", "<(target_arch)"]
    }]
  }]
}
