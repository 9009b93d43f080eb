"""The table of registered pairs: one row a published data set, and one for your own."""

from tfds_builders.layouts import OWN, Folders, Hashed, Layout, Listed, Lists, Row, Whole

# MSRS is labelled with the same classes.
MFNET_CLASSES = ("unlabelled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
FMB_CLASSES = (
    "background", "road", "sidewalk", "building", "lamp", "sign", "vegetation", "sky", "person", "car", "truck", "bus",
    "motorcycle", "bicycle", "pole",
)  # fmt: skip

PAIRS = (
    Row(
        name="msrs",
        description="MSRS: 1,444 registered road scenes at day and night, 640x480.",
        layouts=(
            Layout(
                files={
                    "visible": "{split}/vi/{stem}.png",
                    "infrared": "{split}/ir/{stem}.png",
                    "labels": "{split}/Segmentation_labels/{stem}.png",
                    "boxes": "MSRS-detection-label/fusion/{split}/{stem}.txt",
                },
                split=Folders({"train": "train", "test": "test"}),
            ),
            Layout(
                files={
                    "visible": "msrs/vi/{stem}.*",
                    "infrared": "msrs/ir/{stem}.*",
                    "boxes": "msrs/boxes_fusion/{stem}.txt",
                },
                split=Listed("msrs"),
            ),
        ),
        label_classes=MFNET_CLASSES,
        box_classes=("person", "bicycle", "car"),
        homepage="https://github.com/Linfeng-Tang/MSRS",
        citation="Tang et al., PIAFusion: A progressive infrared and visible image fusion network based on "
        "illumination aware, Information Fusion 2022",
        licence="none stated; asks to cite PIAFusion",
        download="Clone the homepage's repository and give that folder as the source; for boxes, clone "
        "https://github.com/Lele-3/MSRS-detection-label into it.",
        verified=True,
    ),
    Row(
        name="roadscene",
        description="RoadScene: 221 aligned road scenes cut from FLIR video, about 500x300.",
        layouts=(
            Layout(
                files={"visible": "crop_LR_visible/{stem}.jpg", "infrared": "cropinfrared/{stem}.jpg"},
                split=Hashed(),
            ),
            Layout(
                files={"visible": "roadscene/vi/{stem}.*", "infrared": "roadscene/ir/{stem}.*"},
                split=Listed("roadscene"),
            ),
        ),
        homepage="https://github.com/hanna-xu/RoadScene",
        citation="Xu et al., U2Fusion: A unified unsupervised image fusion network, TPAMI 2022",
        licence="none stated; asks to cite",
        download="Clone the homepage's repository and give that folder as the source.",
        verified=True,
    ),
    Row(
        name="llvip",
        description="LLVIP: 15,488 registered street scenes in low light, 1280x1024.",
        layouts=(
            Layout(
                files={
                    "visible": "visible/{split}/{stem}.jpg",
                    "infrared": "infrared/{split}/{stem}.jpg",
                    "boxes": "Annotations/{stem}.xml",
                },
                split=Folders({"train": "train", "test": "test"}),
            ),
            Layout(
                files={"visible": "llvip/vi/{stem}.*", "infrared": "llvip/ir/{stem}.*"},
                split=Listed("llvip"),
            ),
        ),
        box_classes=("person",),
        homepage="https://bupt-ai-cz.github.io/LLVIP",
        citation="Jia et al., LLVIP: A visible-infrared paired dataset for low-light vision, ICCVW 2021",
        licence="non-commercial; no re-identification",
        download="Get LLVIP.zip (the registered pairs) by the homepage, unpack it and give the folder LLVIP as "
        "the source.",
        verified=True,
    ),
    Row(
        name="tno",
        description="TNO-type frames of about 9 static scenes with target masks, 360x270.",
        layouts=(
            Layout(
                files={
                    "visible": "vi/{stem}.*",
                    "infrared": "ir/{stem}.*",
                    "labels": "label/{stem}.*",
                },
                split=Whole("test"),
            ),
            Layout(
                files={
                    "visible": "tno_masks/vi/{stem}.*",
                    "infrared": "tno_masks/ir/{stem}.*",
                    "labels": "tno_masks/label/{stem}.*",
                },
                split=Listed("tno_masks"),
            ),
        ),
        label_classes=("background", "target"),
        homepage="https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029",
        citation="Toet, The TNO multiband image data collection, Data in Brief 2017",
        licence="none stated for the masks",
        download="TNO is published as folders of scenes with names of their own: put the two images of a pair "
        "under one stem into vi/ and ir/ (masks into label/); too few scenes to split, so all is test.",
        verified=True,
    ),
    Row(
        name="mfnet",
        description="MFNet: 1,569 road scenes at day and night with labels, 640x480; infrared is the fourth channel.",
        layouts=(
            Layout(
                files={
                    "visible": "images/{stem}.png",
                    "infrared": "images/{stem}.png",
                    "labels": "labels/{stem}.png",
                },
                split=Lists({"train.txt": "train", "val.txt": "val", "test.txt": "test"}),
            ),
        ),
        channels={"visible": (0, 1, 2), "infrared": (3,)},
        label_classes=MFNET_CLASSES,
        homepage="https://www.mi.t.u-tokyo.ac.jp/static/projects/mil_multispectral",
        citation="Ha et al., MFNet: Towards real-time semantic segmentation for autonomous vehicles with "
        "multi-spectral scenes, IROS 2017",
        licence="see the homepage",
        download="Get ir_seg_dataset.zip by the homepage, unpack it and give the folder with images, labels and "
        "train.txt as the source; for a version with separate folders, give --files.",
        verified=False,
    ),
    Row(
        name="fmb",
        description="FMB: 1,500 registered scenes with labels of 14 classes, 800x600.",
        layouts=(
            Layout(
                files={
                    "visible": "{split}/Visible/{stem}.png",
                    "infrared": "{split}/Infrared/{stem}.png",
                    "labels": "{split}/Label/{stem}.png",
                },
                split=Folders({"train": "train", "test": "test"}),
            ),
        ),
        label_classes=FMB_CLASSES,
        homepage="https://github.com/JinyuanLiu-CV/SegMiF",
        citation="Liu et al., Multi-interactive feature learning and a full-time multi-modality benchmark for image "
        "fusion and segmentation, ICCV 2023",
        licence="see the homepage",
        download="Get FMB by the homepage, unpack it and give the folder with train and test as the source.",
        verified=False,
    ),
    Row(
        name="pst900",
        description="PST900: 894 underground scenes with labels of 4 classes, 1280x720.",
        layouts=(
            Layout(
                files={
                    "visible": "{split}/rgb/{stem}.png",
                    "infrared": "{split}/thermal/{stem}.png",
                    "labels": "{split}/labels/{stem}.png",
                },
                split=Folders({"train": "train", "test": "test"}, scene=r"(.*)_rect_rgb_frame\d+"),
            ),
        ),
        label_classes=("background", "fire_extinguisher", "backpack", "hand_drill", "survivor"),
        homepage="https://github.com/ShreyasSkandanS/pst900_thermal_rgb",
        citation="Shivakumar et al., PST900: RGB-thermal calibration, dataset and segmentation network, ICRA 2020",
        licence="see the homepage",
        download="Get PST900 RGB-T by the homepage and give the folder with train and test as the source; "
        "`--files infrared={split}/thermal_raw/{stem}.png --save-as NAME` takes the 16-bit images.",
        verified=False,
    ),
    Row(
        name="m3fd",
        description="M3FD: 4,200 registered scenes with boxes of 6 classes, 1024x768.",
        layouts=(
            Layout(
                files={
                    "visible": "Vis/{stem}.png",
                    "infrared": "Ir/{stem}.png",
                    "boxes": "Annotation/{stem}.xml",
                },
                split=Hashed(),
            ),
        ),
        box_classes=("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck"),
        homepage="https://github.com/JinyuanLiu-CV/TarDAL",
        citation="Liu et al., Target-aware dual adversarial learning and a multi-scenario multi-modality benchmark to "
        "fuse infrared and visible for object detection, CVPR 2022",
        licence="see the homepage",
        download="Get M3FD_Detection by the homepage and give that folder as the source; if its folders are named "
        "otherwise, give --files. It has no split of its own, and neighbours in a video may fall into two.",
        verified=False,
    ),
    Row(
        name="vifb",
        description="VIFB: 21 pairs for testing.",
        layouts=(
            Layout(files={"visible": "VIS/{stem}.*", "infrared": "IR/{stem}.*"}, split=Whole("test")),
            Layout(files={"visible": "input/VI/{stem}.*", "infrared": "input/IR/{stem}.*"}, split=Whole("test")),
        ),
        homepage="https://github.com/xingchenzhang/VIFB",
        citation="Zhang et al., VIFB: A visible and infrared image fusion benchmark, CVPRW 2020",
        licence="see the homepage",
        download="Clone the homepage's repository and give the folder with VIS and IR, or with input, as the source; "
        "if they are named otherwise, give --files.",
        verified=False,
    ),
    Row(
        name="folders",
        description="Your own pairs: visible/ and infrared/ matched by stem; labels/ and boxes/ (YOLO) if any.",
        layouts=(
            Layout(
                files={
                    "visible": "visible/{stem}.*",
                    "infrared": "infrared/{stem}.*",
                    "labels": "labels/{stem}.*",
                    "boxes": "boxes/{stem}.*",
                },
                split=Hashed(),
            ),
        ),
        **OWN,
    ),
)
