# host_isas(OUT ALL): of the instruction sets ALL (best first), the best that this machine's CPU has, and the portable
# one.
#
# The compiler tells: with -march=native it defines a macro for every extension of the CPU it runs on.
function(host_isas out all)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -march=native -dM -E -x c++ /dev/null OUTPUT_VARIABLE macros
                  RESULT_VARIABLE failed ERROR_QUIET)
  set(needed_avx512bf16 AVX512BF16 AVX512VL AVX512DQ AVX512BW AVX512F F16C FMA AVX2)
  set(needed_avx512 AVX512VL AVX512DQ AVX512BW AVX512F F16C FMA AVX2)
  set(needed_avx2 F16C FMA AVX2)
  foreach(isa ${all})
    set(has TRUE)
    foreach(extension ${needed_${isa}})
      if(failed OR NOT macros MATCHES "#define __${extension}__ ")
        set(has FALSE)
      endif()
    endforeach()
    if(has)
      list(APPEND found ${isa})
    endif()
  endforeach()
  list(GET found 0 best)
  list(GET found -1 portable)
  set(found ${best} ${portable})
  list(REMOVE_DUPLICATES found)
  set(${out} ${found} PARENT_SCOPE)
endfunction()
