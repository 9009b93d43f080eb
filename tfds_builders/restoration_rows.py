"""The table of restoration sets: one row a published data set, and one for your own."""

from tfds_builders.layouts import OWN, Folders, Hashed, Layout, Listed, Lists, RestorationRow, Whole

RESTORATION = (
    RestorationRow(
        name="lol",
        description="LOL: 500 real low/normal-light pairs, 600x400.",
        layouts=(
            Layout(
                files={"degraded": "{split}/low/{stem}.png", "reference": "{split}/high/{stem}.png"},
                split=Folders({"our485": "train", "eval15": "test"}),
            ),
            Layout(
                files={
                    "degraded": "restore/lowlight_lol/low/{stem}.*",
                    "reference": "restore/lowlight_lol/high/{stem}.*",
                },
                split=Listed("restore/lowlight_lol"),
            ),
        ),
        condition="low_light",
        homepage="https://daooshee.github.io/BMVC2018website",
        citation="Wei et al., Deep Retinex decomposition for low-light enhancement, BMVC 2018",
        licence="none stated",
        download="Get LOLdataset.zip by the homepage, unpack it and give the folder with our485 and eval15 as "
        "the source.",
        verified=True,
    ),
    RestorationRow(
        name="polyu",
        description="PolyU: 100 crops of real camera noise with a mean of many shots as reference, 512x512.",
        layouts=(
            Layout(
                files={
                    "degraded": "CroppedImages/{stem}_real.JPG",
                    "reference": "CroppedImages/{stem}_mean.JPG",
                },
                split=Hashed(scene=r"(.*)_\d+"),
            ),
            Layout(
                files={
                    "degraded": "restore/noise_polyu/noisy/{stem}.*",
                    "reference": "restore/noise_polyu/clean/{stem}.*",
                },
                split=Listed("restore/noise_polyu"),
            ),
        ),
        condition="noise",
        homepage="https://github.com/csjunxu/PolyU-Real-World-Noisy-Images-Dataset",
        citation="Xu et al., Real-world noisy image denoising: A new benchmark, arXiv 1804.02603",
        licence="non-commercial",
        download="Clone the homepage's repository and give that folder as the source.",
        verified=True,
    ),
    RestorationRow(
        name="clean",
        description="A folder of clean visible (CBSD68 and the like) or thermal images, to be degraded on the fly.",
        layouts=(
            Layout(
                files={"reference": "restore/clean_cbsd68/{stem}.*"},
                split=Listed("restore/clean_cbsd68"),
            ),
            Layout(files={"reference": "{stem}.*"}, split=Hashed()),
        ),
        condition="clean",
        homepage="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds",
        citation="Martin et al., A database of human segmented natural images, ICCV 2001",
        licence="none stated (Berkeley)",
        download="Any flat folder of clean images is a source; thermal ones with --modality infrared --save-as NAME.",
        verified=True,
    ),
    RestorationRow(
        name="lol_v2_real",
        description="LOL v2: 789 real low/normal-light pairs.",
        layouts=(
            Layout(
                files={
                    "degraded": "Real_captured/{split}/Low/low{stem}.png",
                    "reference": "Real_captured/{split}/Normal/normal{stem}.png",
                },
                split=Folders({"Train": "train", "Test": "test"}),
            ),
        ),
        condition="low_light",
        homepage="https://github.com/flyywh/CVPR-2020-Semi-Low-Light",
        citation="Yang et al., Sparse gradient regularized deep Retinex network for robust low-light image "
        "enhancement, TIP 2021",
        licence="see the homepage",
        download="Get LOL-v2 by the homepage and give the folder with Real_captured as the source.",
        verified=False,
    ),
    RestorationRow(
        name="lol_v2_synthetic",
        description="LOL v2: 1,000 synthetic low/normal-light pairs.",
        layouts=(
            Layout(
                files={
                    "degraded": "Synthetic/{split}/Low/{stem}.png",
                    "reference": "Synthetic/{split}/Normal/{stem}.png",
                },
                split=Folders({"Train": "train", "Test": "test"}),
            ),
        ),
        condition="low_light",
        homepage="https://github.com/flyywh/CVPR-2020-Semi-Low-Light",
        citation="Yang et al., Sparse gradient regularized deep Retinex network for robust low-light image "
        "enhancement, TIP 2021",
        licence="see the homepage",
        download="Get LOL-v2 by the homepage and give the folder with Synthetic as the source.",
        verified=False,
    ),
    RestorationRow(
        name="sice",
        description="SICE: 589 scenes in many exposures with a well exposed reference; by default the darkest of each.",
        layouts=(
            Layout(
                files={"degraded": "{split}/{number}/1.*", "reference": "{split}/Label/{number}.*"},
                split=Folders({"Dataset_Part1": "train", "Dataset_Part2": "test"}),
            ),
        ),
        condition="low_light",
        homepage="https://github.com/csjcai/SICE",
        citation="Cai et al., Learning a deep single image contrast enhancer from multi-exposure images, TIP 2018",
        licence="see the homepage",
        download="Get both parts by the homepage and give the folder that holds them as the source; --files, "
        "--condition and --save-as take other exposures.",
        verified=False,
    ),
    RestorationRow(
        name="sidd",
        description="SIDD: real phone camera noise with references, 160 scene instances of 10 scenes.",
        layouts=(
            Layout(
                files={
                    "degraded": "Data/{scene}/NOISY_SRGB_{number}.PNG",
                    "reference": "Data/{scene}/GT_SRGB_{number}.PNG",
                },
                split=Hashed(scene=r"\d+_\d+_(\d+)_.*"),
            ),
            Layout(
                files={
                    "degraded": "Data/{scene}/{instance}_NOISY_SRGB_{number}.PNG",
                    "reference": "Data/{scene}/{instance}_GT_SRGB_{number}.PNG",
                },
                split=Hashed(scene=r"\d+_\d+_\d+_(\d+)_.*"),
            ),
        ),
        condition="noise",
        homepage="https://abdokamel.github.io/sidd",
        citation="Abdelhamed et al., A high-quality denoising dataset for smartphone cameras, CVPR 2018",
        licence="see the homepage",
        download="Get SIDD-Small or SIDD-Medium (sRGB images) by the homepage and give the folder with Data as the "
        "source.",
        verified=False,
    ),
    RestorationRow(
        name="cc15",
        description="CC: 15 crops of real camera noise for testing.",
        layouts=(Layout(files={"degraded": "{stem}_real.png", "reference": "{stem}_mean.png"}, split=Whole("test")),),
        condition="noise",
        homepage="https://github.com/csjunxu/MCWNNM-ICCV2017",
        citation="Nam et al., A holistic approach to cross-channel image noise modeling and its application to image "
        "denoising, CVPR 2016",
        licence="see the homepage",
        download="Get the 15 crops by the homepage and give the folder with *_real.png and *_mean.png as the source.",
        verified=False,
    ),
    RestorationRow(
        name="reside",
        description="RESIDE: synthetic haze, the outdoor or indoor test set SOTS, or the training set ITS.",
        layouts=(
            Layout(
                files={"degraded": "outdoor/hazy/{number}_{variant}.*", "reference": "outdoor/gt/{number}.*"},
                split=Whole("test"),
            ),
            Layout(
                files={"degraded": "indoor/hazy/{number}_{variant}.*", "reference": "indoor/gt/{number}.*"},
                split=Whole("test"),
            ),
            Layout(
                files={"degraded": "hazy/{number}_{variant}.*", "reference": "clear/{number}.*"},
                split=Hashed(scene=r"(\d+)_.*"),
            ),
        ),
        condition="haze",
        homepage="https://sites.google.com/view/reside-dehaze-datasets",
        citation="Li et al., Benchmarking single-image dehazing and beyond, TIP 2019",
        licence="see the homepage",
        download="Get SOTS or ITS by the homepage and give the folder with outdoor or indoor, or with hazy and clear, "
        "as the source.",
        verified=False,
    ),
    RestorationRow(
        name="nh_haze",
        description="NH-HAZE: 55 outdoor scenes with real, uneven haze from a machine.",
        layouts=(Layout(files={"degraded": "{number}_hazy.png", "reference": "{number}_GT.png"}, split=Hashed()),),
        condition="haze",
        homepage="https://data.vision.ee.ethz.ch/cvl/ntire20/nh-haze",
        citation="Ancuti et al., NH-HAZE: An image dehazing benchmark with non-homogeneous hazy and haze-free images, "
        "CVPRW 2020",
        licence="see the homepage",
        download="Get NH-HAZE.zip by the homepage and give the folder with *_hazy.png and *_GT.png as the source.",
        verified=False,
    ),
    RestorationRow(
        name="rain100",
        description="Rain100L or Rain100H: 100 pairs with light or heavy synthetic rain, or their training sets.",
        layouts=(
            Layout(
                files={"degraded": "rainy/rain-{number}.png", "reference": "norain-{number}.png"}, split=Whole("test")
            ),
            Layout(files={"degraded": "rain-{number}.png", "reference": "norain-{number}.png"}, split=Hashed()),
        ),
        condition="rain",
        homepage="https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html",
        citation="Yang et al., Deep joint rain detection and removal from a single image, CVPR 2017",
        licence="see the homepage",
        download="Get one of the sets by the homepage and give its folder as the source; if its files are named "
        "otherwise, give --files.",
        verified=False,
    ),
    RestorationRow(
        name="spa",
        description="SPA: 1,000 test pairs of real rain.",
        layouts=(Layout(files={"degraded": "rain/{stem}.png", "reference": "gt/{stem}gt.png"}, split=Whole("test")),),
        condition="rain",
        homepage="https://github.com/stevewongv/SPANet",
        citation="Wang et al., Spatial attentive single-image deraining with a high quality real rain dataset, CVPR "
        "2019",
        licence="see the homepage",
        download="Get real_test_1000.zip by the homepage and give the folder with rain and gt as the source; if its "
        "files are named otherwise, give --files.",
        verified=False,
    ),
    RestorationRow(
        name="snow100k",
        description="Snow100K: 50,000 training and 50,000 test pairs with synthetic snow.",
        layouts=(
            Layout(
                files={"degraded": "{split}/synthetic/{stem}.jpg", "reference": "{split}/gt/{stem}.jpg"},
                split=Folders({"all": "train", "Snow100K-L": "test"}),
            ),
        ),
        condition="snow",
        homepage="https://sites.google.com/view/yunfuliu/desnownet",
        citation="Liu et al., DesnowNet: Context-aware deep network for snow removal, TIP 2018",
        licence="see the homepage",
        download="Get the training and test sets by the homepage and put their folders all and Snow100K-L into one "
        "folder, the source.",
        verified=False,
    ),
    RestorationRow(
        name="gopro",
        description="GoPro: 3,214 pairs of synthetic motion blur, averaged from videos, 1280x720.",
        layouts=(
            Layout(
                files={"degraded": "{split}/{scene}/blur/{stem}.png", "reference": "{split}/{scene}/sharp/{stem}.png"},
                split=Folders({"train": "train", "test": "test"}, scene=r"(.*)_\d+"),
            ),
        ),
        condition="blur",
        homepage="https://seungjunnah.github.io/Datasets/gopro",
        citation="Nah et al., Deep multi-scale convolutional neural network for dynamic scene deblurring, CVPR 2017",
        licence="CC BY 4.0",
        download="Get GOPRO_Large.zip by the homepage and give the folder with train and test as the source.",
        verified=False,
    ),
    RestorationRow(
        name="realblur",
        description="RealBlur-J: 4,738 pairs of real camera-shake blur (232 scenes, JPEG).",
        layouts=(
            Layout(
                files={
                    "degraded": "{set}/{scene}/blur/blur_{number}.png",
                    "reference": "{set}/{scene}/gt/gt_{number}.png",
                },
                split=Lists({"RealBlur_J_train_list.txt": "train", "RealBlur_J_test_list.txt": "test"}),
            ),
        ),
        condition="blur",
        homepage="https://cg.postech.ac.kr/research/realblur",
        citation="Rim et al., Real-world blur dataset for learning and benchmarking deblurring algorithms, ECCV 2020",
        licence="see the homepage",
        download="Get RealBlur.tar.gz by the homepage and put the folder of RealBlur-J and the two lists into one "
        "folder, the source.",
        verified=False,
    ),
    RestorationRow(
        name="folders",
        description="Your own restoration pairs: degraded/ and reference/ matched by stem.",
        layouts=(
            Layout(
                files={"degraded": "degraded/{stem}.*", "reference": "reference/{stem}.*"},
                split=Hashed(),
            ),
        ),
        condition="",
        **OWN,
    ),
)
