"""Words by which people ask for the known targets, and words for everything else that they may name.

All are in the singular and in lower case; :mod:`~medclipsam_utils.pipeline.naming` reads a text by them.
"""

from __future__ import annotations

from collections.abc import Mapping


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


TUMOUR = _listed(
    """
    tumour mass lesion cancer carcinoma adenocarcinoma sarcoma neoplasm malignancy growth lump abnormality
    metastasis neoplasia nodule focus
    """
)
# Qualities that make a tumour of a "region" or a "tissue".
TUMOROUS = _listed("cancerous tumorous tumoural tumoral neoplastic")
OF_BREAST = _listed("fibroadenoma dcis")
OF_BRAIN = _listed(
    """
    glioma meningioma glioblastoma astrocytoma oligodendroglioma ependymoma medulloblastoma schwannoma
    craniopharyngioma macroadenoma microadenoma gbm
    """
)
OF_LUNG = _listed("lung pulmonary breathing respiratory")
PARTS_OF_LUNG = _listed("field parenchyma organ lobe")
PULMONARY = _listed("pulmonary region")
SOUND = _listed("healthy normal")
ONE_LOBE = _listed("left right upper lower middle")

BREAST = _listed("breast mammary mamma ductal lobular")
BRAIN = _listed(
    """
    brain cerebral cerebrum intracranial cranial cranium head pituitary sella sellar hypophysis meningeal cerebellum
    cerebellar hemisphere fossa dura dural midline glial intraaxial extraaxial frontal-lobe skull ventricle
    neurological encephalic hemispheric
    """
)
CHEST = _listed("chest thorax thoracic pulmonary rib-cage ribcage")
# A lobe is one of the brain if its name is, and else one of the lungs.
LOBES_OF_BRAIN = _listed("frontal temporal parietal occipital")

METHODS: Mapping[str, frozenset[str]] = {
    "breast_ultrasound": _listed("ultrasound sonogram sonography ultrasonography echography us bus echo"),
    "brain_mri": _listed("mri mr magnetic resonance flair t1-weighted t2-weighted t1 t2 t1w t2w"),
    "lung_xray": _listed("x-ray radiograph radiography film cxr roentgenogram xray plain"),
    "lung_ct": _listed("ct computed tomography cat tomogram hrct"),
}

ALL_METHODS = frozenset().union(*METHODS.values())

# Parts of the body that are no target here; a tumour there is another tumour.
ELSEWHERE = _listed(
    """
    liver hepatic kidney renal spleen splenic colon colonic rectum rectal bowel intestine intestinal stomach gastric
    prostate bladder uterus uterine ovary ovarian cervix cervical pancreas pancreatic thyroid parathyroid skin bone
    muscle fat heart cardiac pericardium pericardial aorta aortic oesophagus esophagus oesophageal esophageal
    trachea tracheal bronchus bronchial hilum hilar mediastinum mediastinal pleura pleural diaphragm rib spine
    spinal vertebra vertebral abdomen abdominal pelvis pelvic gallbladder adrenal lymph node neck larynx pharynx
    tongue tooth jaw eye retina optic nose nasal ear knee hip shoulder elbow wrist hand foot ankle leg arm femur
    tibia humerus clavicle scapula sternum testis testicular penis vagina placenta fetus foetus foetal fetal polyp
    artery vein vessel nerve salivary parotid melanoma lymphoma leukaemia osteosarcoma hepatoma lung pulmonary
    """
)

# Things that are no part of the body and no target: findings beside the lungs, objects, the organs themselves.
OTHER_THINGS = _listed(
    """
    cyst collapsed effusion fluid opacity consolidation pneumonia pneumothorax oedema edema cardiomegaly fibrosis
    emphysema atelectasis nodule infiltrate fissure apex base lobe shadow shadowing calcification haemorrhage
    hemorrhage bleed bleeding stroke infarct infarction abscess aneurysm matter cortex gland duct nipple implant
    catheter tube device pacemaker gas air bubble background cat dog car person face hand tree house
    """
)

SMALL = _listed(
    """
    well you before after when while outside other , if so them together including except excluding but a an the of
    in on at with within inside from to into by for and or as is are be been that which this these those it its
    their his her my our your there here where what near next beside besides between behind below beneath above over
    under around across along through than both all any every each some such one two three no not without showing
    shows show shown seen see visible depicting depicts containing contains having has have located lying arising
    attached surrounding surrounded involving affecting please find segment outline delineate detect locate identify
    highlight mark trace draw label extract mask i want need me patient patients s
    """
)
JOINING = {"and", "or", "well"}  # as well as
DENYING = _listed("no not without absence absent lacking never except excluding exclude but outside other")
LINKING = _listed(
    """
    including of in on at within inside from near next beside besides between behind below beneath above over under
    around across along through by
    """
)
# Of these, the ones that say where a thing is, and not what is beside it.
PLACING = _listed("of in on at within inside")
QUALITIES = _listed(
    """
    b-mode grayscale greyscale medical post-contrast multiforme left right bilateral upper lower middle anterior
    posterior lateral medial central peripheral frontal axial coronal sagittal temporal parietal occipital deep
    superficial bright brighter dark darker hyperintense hypointense isointense hyperechoic hypoechoic anechoic
    isoechoic echogenic hyperdense hypodense dense hyperattenuating hypoattenuating radiopaque radiolucent lucent
    opaque white black grey large small big tiny huge medium-sized round oval lobulated irregular smooth spiculated
    well-defined ill-defined circumscribed infiltrating heterogeneous homogeneous enhancing contrast-enhanced
    contrast enhancement solid cystic focal diffuse benign malignant suspicious primary secondary metastatic
    aggressive low-grade high-grade grade stage abnormal normal healthy clear aerated inflated air-filled hazy whole
    entire complete full single solitary multiple pair region area zone tissue structure part site side image
    picture scan slice view study photo photograph frame section segmentation mask shape boundary border contour
    edge extent volume outline detection localisation localization delineation extraction only pixel voxel core
    possible probable likely known new human adult female male woman man child margin signal surface centre center
    """
)
