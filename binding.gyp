{
  # For tools that only know node-gyp (prebuildify, electron-rebuild): the build itself is CMake's.
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
