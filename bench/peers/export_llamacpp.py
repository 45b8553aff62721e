"""llama.cpp's own quantiser, through its binding: export_llamacpp.py IN.gguf OUT.gguf"""

import ctypes
import os
import sys

import llama_cpp as llama

llama.llama_backend_init()
settings = llama.llama_model_quantize_default_params()
settings.ftype = llama.LLAMA_FTYPE_MOSTLY_Q4_0
settings.nthread = os.cpu_count() or 1
source, target = (name.encode() for name in sys.argv[1:3])
sys.exit(llama.llama_model_quantize(source, target, ctypes.byref(settings)))
