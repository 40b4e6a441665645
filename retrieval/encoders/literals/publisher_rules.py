"""What publishers' config files settle of a literal, file by file; each literal takes those of its own `config`."""

from retrieval.encoders.specs import Rule

# transformers' preprocessor_config.json. Where it is unread, the sentence in `unverified` names the processor.
PROCESSOR = (
    Rule("image_mean", "pixels.mean", settles="processor"),
    Rule("image_std", "pixels.std", settles="processor"),
    Rule("resample", "pixels.interpolation", settles="processor"),
    Rule("size", "pixels.size", settles="processor"),
    Rule("do_center_crop", "pixels.crop"),
    Rule("do_resize", must=(True,)),
    Rule("do_rescale", must=(True,)),
    Rule("do_normalize", must=(True,)),
)
# The side that the network takes is not open: its positions are for that one.
PROCESSOR_518 = (*PROCESSOR, Rule("crop_size", "pixels.crop", must=(518,)))

# open_clip's open_clip_config.json. Where it is unread, the sentence names the configuration.
OPEN_CLIP_224 = (
    Rule("preprocess_cfg.mean", "pixels.mean", settles="configuration"),
    Rule("preprocess_cfg.std", "pixels.std", settles="configuration"),
    Rule("preprocess_cfg.interpolation", "pixels.interpolation"),
    Rule("preprocess_cfg.resize_mode", "pixels.fit"),
    Rule("preprocess_cfg.size", "pixels.size", must=(224,)),
    Rule("model_cfg.embed_dim", must=(512,)),
)
# timm's config.json of H0-mini; what it says of pixels is not heeded (others of its publisher's are known to be wrong).
TIMM_REGISTERS = (
    Rule("model_args.mlp_ratio", "arguments.mlp_ratio", settles="config.json"),
    Rule("model_args.init_values", "arguments.init_values"),
    Rule("model_args.img_size", must=(224,)),
    Rule("model_args.reg_tokens", must=(4,)),
    Rule("model_args.patch_size", must=(14,)),
    Rule("global_pool", must=("", "token")),
)
